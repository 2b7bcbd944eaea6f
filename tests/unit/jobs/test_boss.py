"""Configurations of the Boss become settings of our own sources, or are refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imaging_db.errors import ConfigError
from imaging_db.jobs.boss import boss_metadata, boss_notes, boss_serial, grid_settings
from imaging_db.jobs.boss_plugins import PAIRS, Pair
from imaging_db.model import DatasetId
from imaging_db.model.job import MOST_BYTES, MOST_FRAMES
from imaging_db.readers.grid.grid import grid_of
from imaging_db.readers.grid.kinds import KINDS
from tests.support.boss import EXAMPLES, LEFT_OUT, config_of
from tests.support.documents import ROOT

PATH = "client.path_processor"
TILE = "client.tile_processor"
CHUNK = "client.chunk_processor"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the folders and files that the examples name."""
    monkeypatch.chdir(tmp_path)
    for folder in ("stack", "chunks", "calcium", "movies", "sections"):
        (tmp_path / folder).mkdir()
    for file in ("volume.h5", "movie.tif"):
        (tmp_path / file).touch()
    return tmp_path


def settings_of(lab: Path, name: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return dict(grid_settings(config_of(lab, name, changes)))


def problems(lab: Path, name: str, changes: dict[str, Any]) -> list[str]:
    config = config_of(lab, name, changes)
    with pytest.raises(ConfigError) as caught:
        grid_settings(config)
    return [problem.removeprefix(f"{config.path}: ") for problem in caught.value.problems]


# --- what the examples become


def test_tiles_of_catmaid_are_files_by_row_and_column(lab: Path) -> None:
    assert settings_of(lab, "catmaid_files") == {
        "kind": "tile_files",
        "grid": {
            "x": [0, 2048],
            "y": [0, 2048],
            "z": [0, 200],
            "t": [0, 1],
            "tile": [512, 512],
            "depth": 1,
        },
        "channel": "raw",
        "root": str(lab / "stack"),
        "pattern": "{z}/{row}_{col}_{resolution}.png",
        "values": {"resolution": 0},
    }


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        ("FileImageStackZoomLevel", "{resolution}/{z}/{row}_{col}.tif"),
        ("DirectoryImageStack", "{resolution}/{z}/{row}/{col}.tif"),
    ],
)
def test_the_other_layouts_of_catmaid_are_patterns(lab: Path, word: str, pattern: str) -> None:
    changes = {
        f"{PATH}.class": f"ingestclient.plugins.catmaid.Catmaid{word}PathProcessor",
        f"{TILE}.class": f"ingestclient.plugins.catmaid.Catmaid{word}TileProcessor",
        f"{PATH}.params.filetype": "tif",
        "ingest_job.resolution": 3,
    }
    settings = settings_of(lab, "catmaid_files", changes)
    assert (settings["pattern"], settings["values"]) == (pattern, {"resolution": 3})


def test_braces_in_a_name_stay_braces(lab: Path) -> None:
    changes = {f"{PATH}.params.base_filename": "{cut}_<p:3>"}
    assert settings_of(lab, "z_stack", changes)["pattern"] == "{{cut}}_{z:03}.png"


def test_a_stack_whose_names_tell_the_tile_is_tile_files(lab: Path) -> None:
    changes = {f"{PATH}.params.base_filename": "<z>/tile_<y>_<x>"}
    settings = settings_of(lab, "z_stack", changes)
    assert (settings["kind"], settings["pattern"]) == ("tile_files", "{z}/tile_{row}_{col}.png")


def test_the_type_that_the_client_converted_to_must_be_that_of_the_file(lab: Path) -> None:
    assert settings_of(lab, "hdf5_file")["dtype"] == "uint8"
    assert settings_of(lab, "time_series")["dtype"] == "uint16"


def test_chunks_keep_their_depth_and_what_changes_nothing_is_left_out(lab: Path) -> None:
    changes = {
        f"{CHUNK}.params": {
            "cloudpath": "gs://lab/volume",
            "mip": 2,
            "fill_missing": True,
            "parallel": 8,
            "bounded": True,
        }
    }
    settings = settings_of(lab, "cloudvolume", changes)
    assert settings["grid"]["depth"] == 64
    assert {key: settings[key] for key in settings.keys() - {"grid", "channel"}} == {
        "kind": "precomputed",
        "path": "gs://lab/volume",
        "mip": 2,
        "fill_missing": True,
    }


def test_a_zarr_is_read_from_a_bucket_or_a_folder(lab: Path) -> None:
    (lab / "brain.zarr").mkdir()
    changes = {
        f"{PATH}.class": "ingestclient.plugins.zarr.ZarrPathProcessor",
        f"{CHUNK}.class": "ingestclient.plugins.zarr.ZarrChunkProcessor",
    }
    for cloud_path, path in (
        ("s3://lab/brain.zarr", "s3://lab/brain.zarr"),
        ("brain.zarr", str(lab / "brain.zarr")),
    ):
        params = {f"{CHUNK}.params": {"cloud_path": cloud_path, "volume_name": "raw"}}
        settings = settings_of(lab, "cloudvolume", changes | params)
        assert (settings["kind"], settings["path"]) == ("zarr", path)
        assert (settings["dataset"], settings["axes"]) == ("raw", "zyx")


def test_another_boss_is_read_where_the_client_would(lab: Path) -> None:
    moved = {f"{TILE}.params.z_offset": 7}
    tiles = settings_of(lab, "intern_tiles", moved)
    assert (tiles["kind"], tiles["z_offset"]) == ("boss", 7)
    assert tiles["uri"] == "bossdb://source/em_2018/raw"
    assert (tiles["protocol"], tiles["host"]) == ("https", "api.boss.example")
    chunks = settings_of(
        lab,
        "cloudvolume",
        {
            f"{PATH}.class": "ingestclient.plugins.intern.InternPathProcessor",
            f"{CHUNK}.class": "ingestclient.plugins.intern.InternChunkProcessor",
            f"{CHUNK}.params": {"uri": "bossdb://source/em_2018/raw"},
        },
    )
    assert chunks["uri"] == "bossdb://source/em_2018/raw"
    assert (chunks["protocol"], chunks["host"]) == ("https", "api.bossdb.io")


@pytest.mark.parametrize(
    ("name", "tiles", "units"),
    [
        ("catmaid_files", 4 * 4 * 200, 200),
        ("catmaid_urls", 121 * 91 * 2156, 44 * 2156),
        ("cloudvolume", 8 * 8 * 500, 8 * 8 * 8),
        ("hdf5_chunks", 2 * 2 * 256, 16),
        ("hdf5_file", 2 * 2 * 256, 16),
        ("hdf5_series", 3 * 30, 3 * 30),
        ("intern_tiles", 8 * 8 * 500, 500),
        ("tiff_hyperstack", 3 * 4000, 3 * 4000),
        ("time_series", 1499, 1499),
        ("z_stack", 8 * 8 * 500, 500),
    ],
)
def test_frames_and_units_of_the_examples_are_known_without_a_source(
    lab: Path, name: str, tiles: int, units: int
) -> None:
    grid = grid_of(settings_of(lab, name))
    assert grid.nbr_frames == tiles
    frame_bytes = grid.tile_width * grid.tile_height
    portions = list(grid.portions(MOST_FRAMES, MOST_BYTES, frame_bytes))
    assert len(portions) == units
    assert sum(count for _, count in portions) == tiles


# --- paths


def test_a_folder_is_looked_for_in_the_working_folder_then_beside_the_configuration(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(lab, "z_stack")
    elsewhere = lab / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert grid_settings(config)["root"] == str(lab / "sections")
    (elsewhere / "sections").mkdir()
    assert grid_settings(config)["root"] == str(elsewhere / "sections")
    (lab / "sections" / "3253_section000.png").touch()
    assert grid_settings(config)["root"] == str(lab / "sections")


def test_an_empty_folder_name_is_the_folder_that_holds_the_first_file(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(lab, "z_stack", {f"{PATH}.params.root_dir": ""})
    elsewhere = lab / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert grid_settings(config)["root"] == str(elsewhere)
    (lab / "3253_section000.png").touch()
    assert grid_settings(config)["root"] == str(lab)


# --- what is refused


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("z_stack", {f"{PATH}.params.root_dir": "no"}, "'no' not found, neither in the working"),
        ("z_stack", {f"{PATH}.params.root_dir": "/no"}, "'/no' not found"),
        ("z_stack", {f"{PATH}.params.base_filename": LEFT_OUT}, "base_filename: is required"),
        ("z_stack", {f"{TILE}.params.fail_gracefully": True}, "never becomes black"),
        ("z_stack", {f"{TILE}.params.filesystem": "s3"}, "'s3' is not read here; copy the files"),
        ("z_stack", {f"{PATH}.params.filesystem": "s3_copy"}, "'s3_copy' is not read here"),
        ("z_stack", {"ingest_job.extent.t": [0, 2]}, "one timepoint; write [0, 1]"),
        ("hdf5_file", {"ingest_job.extent.t": [1, 2]}, "one timepoint; write [0, 1]"),
        ("cloudvolume", {"ingest_job.extent.t": [0, 9]}, "one timepoint; write [0, 1]"),
        ("catmaid_files", {"ingest_job.extent.x": [100, 1124]}, "whole tiles of 512; write 0 or"),
        ("catmaid_files", {"ingest_job.extent.y": [1000, 1124]}, "write 512 or 1024"),
        ("catmaid_urls", {"ingest_job.extent.y": [1, 1124]}, "whole tiles of 512; write 0 or 512"),
        ("catmaid_urls", {f"{TILE}.params.url": "ftp://x/"}, "must begin with http:// or https://"),
        ("catmaid_urls", {f"{TILE}.params.z_offset": -3}, "z_offset: must be 0"),
        ("time_series", {"ingest_job.extent.z": [0, 3]}, "2 are not named: z_1, z_2"),
        ("time_series", {f"{PATH}.params.z_0": ""}, "z_0: must be a text that is not empty"),
        ("time_series", {f"{TILE}.params.datatype": "int8"}, "must be uint8 or uint16"),
        ("tiff_hyperstack", {f"{TILE}.params.time_chunk_size": 50}, "is 50, and"),
        ("tiff_hyperstack", {f"{PATH}.params.time_chunk_size": 0}, "a whole number from 1"),
        ("hdf5_series", {f"{TILE}.params.scale_factor": 0.0001}, "0.0001 would change the pixels"),
        ("hdf5_chunks", {f"{TILE}.params.z_chunk_size": 26}, "z_chunk_size: is 26, and"),
        ("hdf5_chunks", {f"{PATH}.params.z_chunk_size": LEFT_OUT}, "z_chunk_size: is required"),
        ("intern_tiles", {f"{TILE}.params.x_tile": 512}, "must be ingest_job.tile_size.x, which"),
        ("intern_tiles", {f"{TILE}.params.z_offset": -1}, "-1 leads from 0 to before 0"),
        ("intern_tiles", {f"{TILE}.params.channel": "a/b"}, "is a name without '/', found 'a/b'"),
        ("cloudvolume", {f"{CHUNK}.params.cloudpath": ""}, "must be a text that is not empty"),
        ("cloudvolume", {f"{CHUNK}.params.bounded": False}, "never becomes black"),
        ("cloudvolume", {f"{CHUNK}.params.background_color": 255}, "no pixel is made up"),
        ("cloudvolume", {f"{CHUNK}.params.info": {"scales": []}}, "info file is read"),
        ("cloudvolume", {f"{CHUNK}.params.mip": -1}, "must be a whole number from 0"),
    ],
)
def test_what_the_client_shifted_cut_or_blackened_is_refused(
    lab: Path, name: str, changes: dict[str, Any], problem: str
) -> None:
    found = problems(lab, name, changes)
    assert any(problem in one for one in found), found
    assert all(one.startswith(("client.", "ingest_job.")) for one in found)


def test_everything_that_is_wrong_with_a_source_is_told_at_once(lab: Path) -> None:
    found = problems(
        lab,
        "catmaid_files",
        {
            f"{PATH}.params.filetype": "",
            f"{PATH}.params.root_dir": "no",
            "ingest_job.extent.x": [100, 1124],
            "ingest_job.extent.t": [0, 2],
        },
    )
    assert len(found) == 4


@pytest.mark.parametrize("extent", [[100, 1124], [3, 5]])
@pytest.mark.parametrize("name", ["z_stack", "hdf5_file", "cloudvolume", "intern_tiles"])
def test_what_is_cut_out_of_larger_images_may_begin_anywhere(
    lab: Path, name: str, extent: list[int]
) -> None:
    settings = settings_of(lab, name, {f"ingest_job.extent.{axis}": extent for axis in "xyz"})
    assert settings["grid"]["x"] == settings["grid"]["z"] == extent


# --- plugins


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.pixels)
def test_every_plugin_has_a_kind_and_is_on_the_page_that_tells_of_them(pair: Pair) -> None:
    page = (ROOT / "docs" / "how-to" / "ingest-boss.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if _is_row_of(line, pair))
    assert f"`{pair.kind}`" in row
    assert pair.kind in KINDS


def _is_row_of(line: str, pair: Pair) -> bool:
    module, _, name = pair.pixels.partition(".")
    stem = name.removesuffix("TileProcessor").removesuffix("ChunkProcessor")
    return line.startswith(f"| `{module}.") and (f"{stem}...`" in line or f"{name}`" in line)


@pytest.mark.parametrize(
    "package", ["ingest.plugins", "bossingest.plugins", "ingestclient.plugins"]
)
def test_the_older_names_of_the_package_are_known(lab: Path, package: str) -> None:
    changes = {
        f"{PATH}.class": f"{package}.stack.ZindexStackPathProcessor",
        f"{TILE}.class": f"{package}.stack.ZindexStackTileProcessor",
    }
    assert settings_of(lab, "z_stack", changes) == settings_of(lab, "z_stack")


def test_a_plugin_that_is_unknown_is_named_with_those_that_are_known(lab: Path) -> None:
    changes = {
        f"{PATH}.class": "ingestclient.plugins.stack.ZStackPathProcessor",
        f"{TILE}.class": "our.lab.plugins.Tiles",
    }
    path, tile = problems(lab, "z_stack", changes)
    assert path.startswith(f"{PATH}.class: 'ingestclient.plugins.stack.ZStackPathProcessor' is no")
    assert "stack.ZindexStackPathProcessor" in path
    assert tile.startswith(f"{TILE}.class: 'our.lab.plugins.Tiles' is no plugin")
    assert "stack.ZindexStackTileProcessor" in tile
    assert "ChunkProcessor" not in tile.replace("Hdf5Chunk", "")


def test_a_class_without_its_package_is_unknown(lab: Path) -> None:
    (found,) = problems(lab, "z_stack", {f"{PATH}.class": "stack.ZindexStackPathProcessor"})
    assert "is no plugin that is known here" in found


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (PATH, "path.TestPathProcessor"),
        (PATH, "path.TestPassThroughPathProcessor"),
        (TILE, "tile.TestTileProcessor"),
        (TILE, "tile.TestRandomTileProcessor"),
    ],
)
def test_the_plugins_of_the_clients_tests_are_refused_as_such(
    lab: Path, place: str, name: str
) -> None:
    (found,) = problems(lab, "z_stack", {f"{place}.class": f"ingestclient.plugins.{name}"})
    assert found.endswith("was made for the client's own tests")


@pytest.mark.parametrize(
    ("name", "place", "plugin", "fits"),
    [
        ("z_stack", TILE, "hdf5.Hdf5SliceTileProcessor", "stack.ZindexStackTileProcessor"),
        ("hdf5_file", PATH, "hdf5.Hdf5ChunkPathProcessor", "hdf5.Hdf5ChunkTileProcessor"),
        (
            "hdf5_file",
            PATH,
            "hdf5.Hdf5TimeSeriesPathProcessor",
            "hdf5.Hdf5TimeSeriesTileProcessor or hdf5.Hdf5TimeSeriesLabelTileProcessor",
        ),
        ("hdf5_file", PATH, "zarr.ZarrPathProcessor", "it reads chunks only"),
        ("cloudvolume", PATH, "zarr.ZarrPathProcessor", "zarr.ZarrChunkProcessor"),
        ("cloudvolume", PATH, "stack.ZindexStackPathProcessor", "it reads tiles only"),
    ],
)
def test_two_halves_of_different_plugins_are_refused(
    lab: Path, name: str, place: str, plugin: str, fits: str
) -> None:
    (found,) = problems(lab, name, {f"{place}.class": f"ingestclient.plugins.{plugin}"})
    assert "does not belong to" in found
    assert found.endswith(fits)


def test_a_reader_of_chunks_is_unknown_where_tiles_are_read(lab: Path) -> None:
    changes = {f"{TILE}.class": "ingestclient.plugins.zarr.ZarrChunkProcessor"}
    (found,) = problems(lab, "z_stack", changes)
    assert "'ingestclient.plugins.zarr.ZarrChunkProcessor' is no plugin that is known here" in found


# --- metadata, notes, serial


def test_names_and_what_is_not_used_become_metadata(lab: Path) -> None:
    config = config_of(lab, "hdf5_file", {"comment": "by Ada", f"{TILE}.params.colour": "red"})
    assert boss_metadata(config) == {
        "boss": {
            "collection": "cortex",
            "experiment": "em_2019",
            "channel": "raw",
            "resolution": 0,
            "schema": "boss-v0.1-schema",
            "host": "api.boss.example",
            "path_processor": "ingestclient.plugins.hdf5.Hdf5SingleFilePathProcessor",
            "tile_processor": "ingestclient.plugins.hdf5.Hdf5SingleFileTileProcessor",
            "chunk_processor": None,
            "unused": {
                "comment": "by Ada",
                f"{TILE}.params.colour": "red",
                f"{TILE}.params.bucket": "",
                f"{TILE}.params.upload_format": "tiff",
            },
        }
    }


def test_a_parameter_that_the_plugin_does_not_know_is_told(lab: Path) -> None:
    config = config_of(lab, "z_stack", {f"{PATH}.params.basefilename": "x"})
    assert boss_notes(config) == (
        f"{PATH}.params.basefilename means nothing to ZindexStackPathProcessor",
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_without_notes(lab: Path, name: str) -> None:
    assert boss_notes(config_of(lab, name)) == ()


def test_the_serial_is_made_of_the_names_and_is_the_same_again(lab: Path) -> None:
    serial = boss_serial(config_of(lab, "z_stack"))
    assert str(serial) == "cortex_em_2019_raw_098f799b-1970-01-01-00-00-00-0000"
    assert DatasetId.parse(str(serial)) == serial
    moved = {f"{PATH}.params.root_dir": "elsewhere", "client.backend.host": "boss.lab.example"}
    assert boss_serial(config_of(lab, "z_stack", moved)) == serial


@pytest.mark.parametrize(
    "changes",
    [
        {"ingest_job.extent.z": [500, 1000]},
        {"ingest_job.tile_size.x": 512},
        {"database.channel": "r.aw"},
        {"database": {"collection": "cortex_em", "experiment": "2019", "channel": "raw"}},
        {"ingest_job.resolution": 1},
    ],
)
def test_another_part_has_another_serial(lab: Path, changes: dict[str, Any]) -> None:
    serials = {str(boss_serial(config_of(lab, "z_stack", one))) for one in ({}, changes)}
    assert len(serials) == 2


def test_a_serial_is_valid_whatever_the_names_are(lab: Path) -> None:
    names = {"collection": "Gehirn ä/7" * 20, "experiment": "実験", "channel": "c" * 80}
    changes = {"database": names, "ingest_job.resolution": 10**6}
    serial = boss_serial(config_of(lab, "z_stack", changes))
    assert DatasetId.parse(str(serial)) == serial
    assert serial.number == 9999
