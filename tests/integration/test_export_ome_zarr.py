"""An export to OME-Zarr that has its name is complete; run again, it goes on with what was interrupted."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from imaging_db import ImagingDB
from imaging_db.errors import (
    ChecksumMismatch,
    Conflict,
    FolderBusy,
    IntegrityError,
    NothingSelected,
    UsageError,
)
from imaging_db.export import ExportReport, Written, export
from imaging_db.model import FrameSelection, UploadType
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.commands import FORKS, IMAGING_DB, Commands, Done
from tests.support.lab import Lab

posix = pytest.mark.skipif(
    os.name == "nt", reason="Windows has neither these signals nor this limit"
)


@pytest.fixture
def stack(small_lab: Lab, tmp_path: Path) -> Any:
    """A dataset of 2 timepoints, 3 slices and 2 channels; its pixels as (T, Z, C, Y, X)."""
    data = imagej_stack(tmp_path / "a.tif", t=2, z=3, c=2, side=300)
    small_lab.upload_one(tmp_path / "a.tif")
    return data


def exported(lab: Lab, serial: str | None = None, **options: Any) -> ExportReport:
    with ImagingDB(lab.settings) as db:
        return export(db, serial or lab.serial(), lab.folder / "out", **options)


def pixels_of(path: Path) -> Any:
    """The full size of an exported image, as (T, C, Z, Y, X)."""
    return np.asarray(zarr.open_group(path, mode="r")["0"])


def attributes_of(path: Path) -> Any:
    """The attributes of an export in version 0.5."""
    return json.loads((path / "zarr.json").read_bytes())["attributes"]


def run(commands: Commands, lab: Lab, *more: str, **options: Any) -> Done:
    lab.write_files()
    words = ["export", lab.serial(), "--to", "ome-zarr", "--dest", "out", "--nbr_workers", "1"]
    return commands.run(IMAGING_DB, [*words, *more], cwd=lab.folder, **options)


def out(lab: Lab) -> list[str]:
    """What lies in the folder of exports, hidden names too."""
    return sorted(path.name for path in (lab.folder / "out").iterdir())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_selection_is_exported_with_its_true_indices_noted(
    small_lab: Lab, stack: Any, version: str
) -> None:
    selection = FrameSelection.of([1], slices=slice(0, 3, 2), timepoints=1)
    report = exported(small_lab, selection=selection, ome_zarr_version=version)
    assert report.written == 2
    assert np.array_equal(pixels_of(report.path)[0, 0], stack[1, [0, 2], 1])
    noted = zarr.open_group(report.path, mode="r").attrs["imaging_db"]
    assert (noted["serial"], noted["slice_indices"]) == (small_lab.serial(), [0, 2])
    assert (noted["channel_indices"], noted["time_indices"]) == ([1], [1])


def test_a_query_selects_what_is_exported(small_lab: Lab, stack: Any, commands: Commands) -> None:
    done = run(commands, small_lab, "--where", "z in (0, 2) and c = 1", "--json")
    assert done.code == 0, done.stderr
    found = pixels_of(Path(json.loads(done.stdout)["path"]))
    assert np.array_equal(found[:, 0], stack[:, [0, 2], 1])


def test_a_stack_of_small_planes_is_one_shard_a_channel(small_lab: Lab, stack: Any) -> None:
    report = exported(small_lab)
    assert np.array_equal(pixels_of(report.path), stack.transpose(0, 2, 1, 3, 4))
    array = zarr.open_group(report.path, mode="r")["0"]
    assert (array.shards, array.chunks) == ((2, 1, 3, 300, 303), (1, 1, 1, 300, 303))
    assert len([path for path in (report.path / "0" / "c").rglob("*") if path.is_file()]) == 2


def test_a_second_export_finds_the_first_and_writes_nothing(small_lab: Lab, stack: Any) -> None:
    first = exported(small_lab)
    before = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
    again = exported(small_lab)
    assert (again.outcome, again.kept, again.written) == (Written.ALREADY_THERE, 12, 0)
    assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == before
    assert out(small_lab) == [first.path.name]


def test_another_export_of_that_name_is_replaced_only_on_demand(small_lab: Lab, stack: Any) -> None:
    first = exported(small_lab, selection=FrameSelection.of([0]))
    with pytest.raises(Conflict, match=r"is another export; .* --overwrite"):
        exported(small_lab)
    assert pixels_of(first.path).shape[1] == 1
    assert exported(small_lab, overwrite=True).written == 12
    assert pixels_of(first.path).shape[1] == 2
    assert out(small_lab) == [first.path.name]


def killed(commands: Commands, lab: Lab) -> Path:
    """An export that was killed after two of three channels; where its pixels lie."""
    assert run(commands, lab, failpoint="object.fetched:15:kill").code == -signal.SIGKILL
    return lab.folder / "out" / f".{lab.serial()}.ome.zarr.part" / "content"


@pytest.fixture
def three_channels(small_lab: Lab, tmp_path: Path) -> Any:
    data = imagej_stack(tmp_path / "a.tif", t=2, z=3, c=3, side=300)
    small_lab.upload_one(tmp_path / "a.tif")
    return data.transpose(0, 2, 1, 3, 4)


@posix
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_killed_export_is_finished_by_the_same_command(
    small_lab: Lab, tmp_path: Path, version: str, commands: Commands
) -> None:
    data = pixels(6, 1500, 1500)  # planes of 4 MiB: three a shard
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZYX"})
    small_lab.upload_one(tmp_path / "a.tif")
    words = ("--ome-zarr-version", version)
    armed = "object.fetched:5:kill"
    assert run(commands, small_lab, *words, failpoint=armed).code == -signal.SIGKILL
    assert out(small_lab) == [f".{small_lab.serial()}.ome.zarr.part"]
    again = run(commands, small_lab, *words, "--json")
    assert again.code == 0, again.stderr
    report = json.loads(again.stdout)
    assert (report["written"], report["kept"]) == ((2, 4) if version == "0.4" else (3, 3))
    assert np.array_equal(pixels_of(Path(report["path"]))[0, 0], data)
    assert out(small_lab) == [f"{small_lab.serial()}.ome.zarr"]


@posix
@pytest.mark.parametrize("stage", ["file.written", "file.named"])
def test_an_export_that_is_killed_at_its_very_end_leaves_nothing_behind(
    small_lab: Lab, stack: Any, stage: str, commands: Commands
) -> None:
    # the plan of the unfinished export is a file too, and the first that gets its name
    assert run(commands, small_lab, failpoint=f"{stage}:2:kill").code == -signal.SIGKILL
    again = run(commands, small_lab)
    assert again.code == 0, again.stderr
    assert out(small_lab) == [f"{small_lab.serial()}.ome.zarr"]
    path = small_lab.folder / "out" / f"{small_lab.serial()}.ome.zarr"
    assert np.array_equal(pixels_of(path), stack.transpose(0, 2, 1, 3, 4))


@posix
@pytest.mark.parametrize("level", [0, 1])
def test_what_a_killed_export_left_is_believed_only_where_its_pixels_are_right(
    small_lab: Lab, three_channels: Any, level: int, commands: Commands
) -> None:
    content = killed(commands, small_lab)
    shard = content / str(level) / "c" / "0" / "1" / "0" / "0" / "0"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    report = exported(small_lab)
    assert (report.written, report.kept) == (12, 6)
    assert np.array_equal(pixels_of(report.path), three_channels)
    assert not list(report.path.rglob("*.partial"))


@posix
def test_what_was_begun_of_another_selection_is_thrown_away(
    small_lab: Lab, three_channels: Any, commands: Commands
) -> None:
    killed(commands, small_lab)
    report = exported(small_lab, selection=FrameSelection.of([2]))
    assert (report.written, report.kept) == (6, 0)
    assert np.array_equal(pixels_of(report.path), three_channels[:, [2]])


@pytest.mark.skipif(not FORKS, reason="commands cannot be forked here")
def test_ctrl_c_tells_how_to_go_on_and_leaves_no_name(
    small_lab: Lab, three_channels: Any, commands: Commands
) -> None:
    small_lab.write_files()
    words = ["export", small_lab.serial(), "--to", "ome-zarr", "--dest", "out"]
    armed = {"failpoint": "object.fetched:8:stall=2"}
    started = commands.start(
        IMAGING_DB, [*words, "--nbr_workers", "1"], cwd=small_lab.folder, **armed
    )
    journal = small_lab.folder / "out" / f".{small_lab.serial()}.ome.zarr.part" / "journal"
    until = time.monotonic() + 30
    while not (journal.exists() and journal.stat().st_size > 1) and time.monotonic() < until:
        time.sleep(0.02)
    started.send(signal.SIGINT)
    done = started.wait()
    assert done.code == 130
    assert "is not complete and has no name yet; rerun to continue" in done.stderr
    assert out(small_lab) == [f".{small_lab.serial()}.ome.zarr.part"]
    report = exported(small_lab)
    assert (report.written + report.kept, report.kept) == (18, 12)


@pytest.mark.skipif(not FORKS, reason="there is no such limit here")
def test_a_full_disk_is_told_and_rerunning_finishes(
    small_lab: Lab, tmp_path: Path, commands: Commands
) -> None:
    data = np.concatenate([np.zeros((3, 900, 900), "uint16"), pixels(3, 900, 900)])
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZYX"})
    small_lab.upload_one(tmp_path / "a.tif")
    words = ("--ome-zarr-version", "0.4")
    done = run(commands, small_lab, *words, largest_file=1_000_000)
    assert done.code == 5, done.stderr
    (line,) = done.stderr.splitlines()[-1:]
    assert f"{small_lab.folder / 'out'} is full" in line
    assert "free space and rerun" in line
    assert out(small_lab) == [f".{small_lab.serial()}.ome.zarr.part"]
    again = run(commands, small_lab, *words)
    assert again.code == 0, again.stderr
    assert "6 frames" in again.stdout
    assert ", 3 were there already, verified" in again.stdout


def test_a_damaged_frame_is_named_and_nothing_has_a_name(
    small_lab: Lab, stack: Any, commands: Commands
) -> None:
    (key,) = (key for key in small_lab.keys() if "c001_z002_t001" in key)  # noqa: SIM118
    stored = Path(small_lab.settings.store.access) / key
    damaged = bytearray(stored.read_bytes())
    damaged[-20] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(damaged)
    with pytest.raises(ChecksumMismatch, match=r"im_c001_z002_t001_p000\.png is damaged"):
        exported(small_lab)
    assert out(small_lab) == [f".{small_lab.serial()}.ome.zarr.part"]
    assert run(commands, small_lab).code == 6


def test_two_runs_at_once_do_not_mix(small_lab: Lab, stack: Any) -> None:
    from imaging_db.transfer.folder import DownloadFolder

    folder = DownloadFolder(small_lab.folder / "out", f".{small_lab.serial()}.ome.zarr.part")
    with folder.locked(), pytest.raises(FolderBusy):
        exported(small_lab)


@pytest.fixture
def with_a_hole(small_lab: Lab, tmp_path: Path) -> Iterator[Any]:
    """A folder of which one of six tif files is not there; its pixels as (T, Z, Y, X), the hole 7."""
    from tests.support.acquisitions import tif_folder

    data = tif_folder(tmp_path / "images")
    (tmp_path / "images" / "img_phase_t001_p000_z001.tif").unlink()
    small_lab.config(filename_parser="parse_sms_name").upload_one(tmp_path / "images")
    data[1, 1] = 7
    yield data


def test_a_missing_frame_is_an_error_or_filled_with_what_the_user_said(
    small_lab: Lab, with_a_hole: Any
) -> None:
    with pytest.raises(UsageError, match=r"1 frame is missing: c0 z1 t1 p0; .* --fill"):
        exported(small_lab)
    report = exported(small_lab, fill=7)
    assert report.notes[-1] == "1 missing frame is filled with 7"
    assert np.array_equal(pixels_of(report.path)[:, 0], with_a_hole)


@pytest.mark.parametrize(("fill", "why"), [(0.5, "whole numbers"), (70_000, "holds 0 to 65535")])
def test_a_fill_value_that_pixels_cannot_hold_is_refused(
    small_lab: Lab, with_a_hole: Any, fill: float, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        exported(small_lab, fill=fill)


def test_nothing_is_written_where_nothing_is_selected(small_lab: Lab, stack: Any) -> None:
    with pytest.raises(NothingSelected, match="there is no channel GFP"):
        exported(small_lab, selection=FrameSelection.of("GFP"))
    assert not (small_lab.folder / "out").exists()


def test_a_dry_run_tells_sizes_and_writes_nothing(
    small_lab: Lab, stack: Any, commands: Commands
) -> None:
    done = run(commands, small_lab, "--dry-run", "--json", "-c", "1")
    planned = json.loads(done.stdout)
    assert (planned["outcome"], planned["written"], planned["dtype"]) == ("planned", 6, "uint16")
    assert planned["sizes"] == {
        "positions": 1,
        "timepoints": 2,
        "channels": 1,
        "slices": 3,
        "height": 300,
        "width": 303,
        "colors": 1,
    }
    assert not (small_lab.folder / "out").exists()


def test_viewers_are_told_between_which_grey_values_a_channel_lies(
    small_lab: Lab, stack: Any
) -> None:
    channels = attributes_of(exported(small_lab).path)["ome"]["omero"]["channels"]
    for channel, data in zip(channels, stack.transpose(2, 0, 1, 3, 4), strict=True):
        window = channel["window"]
        assert (window["min"], window["max"]) == (0, 65535)
        assert data.min() <= window["start"] < window["end"] <= data.max()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint32", "float32", "float64"])
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_type_of_pixels_is_kept(
    small_lab: Lab, tmp_path: Path, dtype: str, version: str
) -> None:
    data = pixels(40, 300, dtype=dtype)
    if dtype.startswith("float"):
        data[0, :3] = [np.nan, np.inf, -np.inf]
    tifffile.imwrite(tmp_path / "a.tif", data)
    small_lab.upload_one(tmp_path / "a.tif")
    found = pixels_of(exported(small_lab, ome_zarr_version=version).path)[0, 0, 0]
    assert found.dtype == data.dtype
    assert found.tobytes() == data.tobytes()


def test_every_database_and_store_exports(lab: Lab, tmp_path: Path) -> None:
    data = imagej_stack(tmp_path / "a.tif")
    lab.upload_one(tmp_path / "a.tif")
    report = exported(lab)
    assert np.array_equal(pixels_of(report.path), data.transpose(0, 2, 1, 3, 4))


def change_rows(lab: Lab, statement: str) -> None:
    """Change the catalog behind the program's back."""
    with closing(sqlite3.connect(lab.settings.database.dbname)) as catalog, catalog:
        catalog.execute(statement)


def test_frames_of_different_sizes_are_refused_by_name(small_lab: Lab, stack: Any) -> None:
    change_rows(small_lab, "UPDATE frames SET width = 99 WHERE slice_idx = 1")
    why = "c0 z0 t0 p0 is 303 x 300 uint16, c0 z1 t0 p0 is 99 x 300 uint16"
    with pytest.raises(UsageError, match=why):
        exported(small_lab)
    selection = FrameSelection.of(slices=[0, 2])
    assert np.array_equal(
        pixels_of(exported(small_lab, selection=selection).path),
        stack[:, [0, 2]].transpose(0, 2, 1, 3, 4),
    )


def test_rows_that_the_catalog_lost_are_noticed(small_lab: Lab, stack: Any) -> None:
    change_rows(small_lab, "DELETE FROM frames WHERE time_idx = 1")
    with pytest.raises(IntegrityError, match="has 6 of the 12 rows"):
        exported(small_lab)


def test_files_are_not_exported_but_downloaded(small_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("as it is")
    small_lab.config(upload_type=UploadType.FILE).upload_one(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match=r"holds files, not frames.* --to files"):
        exported(small_lab)
