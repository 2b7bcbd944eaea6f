"""A folder of TIFF files: which files count, where each lies, and when something is missing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from imaging_db.errors import CorruptSource, ReaderError, SourceChanged, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, SourceFrame
from imaging_db.readers import registry
from imaging_db.readers.base import Match, ReaderOptions, ReadLimits
from imaging_db.readers.micro_manager_text import planned_counts, read_metadata_text
from imaging_db.readers.tif_folder import SPEC
from tests.support.acquisitions import pixels
from tests.support.corpus import DATA


def write(folder: Path, *names: str, **options: Any) -> Path:
    """Write a small image under each name, each with other pixels; returns the folder."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, pixels(6, 8, seed=number), metadata=None, **options)
    return folder


def read(folder: Path, **options: Any) -> tuple[Acquisition, list[SourceFrame]]:
    """The acquisition and all frames, after reading the pixels of each."""
    with SPEC.open(folder, ReaderOptions(**options)) as reader:
        frames = list(reader.frames())
        for frame in frames:
            assert reader.read(frame).shape == frame.shape
        return reader.acquisition, frames


def coords_by_name(folder: Path, **options: Any) -> dict[str, FrameCoords]:
    return {frame.source.path.name: frame.coords for frame in read(folder, **options)[1]}


def refused(
    folder: Path, cause: str, error: type[ReaderError] = ReaderError, **options: Any
) -> None:
    with pytest.raises(error, match=cause):
        SPEC.open(folder, ReaderOptions(**options))


# --- real folders -----------------------------------------------------------------------------


@pytest.mark.fault("I-12")
def test_numbers_without_zeros_come_in_natural_order() -> None:
    acquisition, frames = read(DATA / "naming_trap_timeseries")
    assert [(f.source.path.name, f.coords) for f in frames] == [
        ("C1-MAX9mitosis.tif", FrameCoords(1, 0, 0, 0)),
        ("C1-MAX10mitosis.tif", FrameCoords(1, 0, 1, 0)),
        ("C2-MAX9mitosis.tif", FrameCoords(2, 0, 0, 0)),
        ("C2-MAX10mitosis.tif", FrameCoords(2, 0, 1, 0)),
    ]
    assert acquisition.channel_names == ("channel1", "channel2")
    assert frames[1].metadata["name"] == {"number": 10}
    assert frames[1].metadata["file_name"] == "C1-MAX10mitosis.tif"


def test_a_palette_is_not_applied() -> None:
    (path,) = (DATA / "leica_zstack_folder").glob("*.tif")
    with SPEC.open(path.parent, ReaderOptions()) as reader:
        (frame,) = reader.frames()
        read_back = reader.read(frame)
    assert (frame.shape, frame.dtype) == ((256, 256), "uint8")
    np.testing.assert_array_equal(read_back, tifffile.imread(path))


def test_micro_managers_metadata_tells_channel_and_settings() -> None:
    acquisition, (frame,) = read(DATA / "mm20alpha_separate_images")
    assert acquisition.channel_names == ("Alpha",)
    assert acquisition.position_names == ("Pos0",)
    summary = acquisition.metadata["Summary"]
    assert isinstance(summary, dict)
    assert summary["UserName"] == "John Doe"
    assert acquisition.z_step_um is None  # 123 m, which no stage travels
    assert acquisition.nbr_expected is None  # -1 of everything
    assert frame.metadata["MicroManagerMetadata"] == {
        "Coords": {"position": 0, "time": 0, "z": 0, "channel": 0}
    }
    assert frame.metadata["ImageWidth"] == 16


def test_one_position_folder_by_itself() -> None:
    acquisition, frames = read(DATA / "mm20alpha_separate_images" / "Pos0")
    assert len(frames) == acquisition.nbr_frames == 1


# --- names ------------------------------------------------------------------------------------


def test_labelled_indices_stay_what_they_are(tmp_path: Path) -> None:
    folder = write(tmp_path, *(f"x_z{z:03d}_ch{c:02d}.TIF" for z in (3, 4) for c in (1, 2)))
    assert coords_by_name(folder) == {
        "x_z003_ch01.TIF": FrameCoords(1, 3, 0, 0),
        "x_z003_ch02.TIF": FrameCoords(2, 3, 0, 0),
        "x_z004_ch01.TIF": FrameCoords(1, 4, 0, 0),
        "x_z004_ch02.TIF": FrameCoords(2, 4, 0, 0),
    }


def test_a_series_may_start_anywhere(tmp_path: Path) -> None:
    acquisition, frames = read(
        write(tmp_path, "banana0002.tif", "banana0003.tif", "banana0004.tif")
    )
    assert [frame.coords.timepoint for frame in frames] == [0, 1, 2]
    assert acquisition.notes == ()


def test_every_tenth_file_is_a_series_too(tmp_path: Path) -> None:
    _, frames = read(write(tmp_path, "a000.tif", "a010.tif", "a020.tif"))
    assert [frame.coords.timepoint for frame in frames] == [0, 1, 2]


def test_names_with_dashes_spaces_and_parentheses(tmp_path: Path) -> None:
    names = [f"--W00001--P00001--Z0000{z}--T00000--cherry.tif" for z in (0, 1)]
    assert [c.slice for c in coords_by_name(write(tmp_path / "a", *names)).values()] == [0, 1]
    names = [f"my cell ({n}) [é].tif" for n in (1, 2, 3)]
    assert [c.timepoint for c in coords_by_name(write(tmp_path / "b", *names)).values()] == [
        0,
        1,
        2,
    ]


@pytest.mark.fault("I-12")
@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["a0001.tif", "a0003.tif"], "1 is followed by 3"),
        (["a1.tif", "a2.tif", "a4.tif", "a5.tif"], "2 is followed by 4"),
        (["x_z000.tif", "x_z002.tif"], "1 frames are missing: c0 z1 t0 p0"),
        (["x_t0_c0.tif", "x_t0_c1.tif", "x_t1_c1.tif"], "1 frames are missing: c0 z0 t1 p0"),
        (["w_D03f00d0.tif", "w_D03f00d2.tif"], "1 frames are missing: c1 z0 t0 p0"),
    ],
)
def test_a_gap_is_a_lost_file(tmp_path: Path, names: list[str], cause: str) -> None:
    refused(write(tmp_path, *names), cause, CorruptSource)


@pytest.mark.fault("I-12")
def test_names_that_claim_one_place_are_listed(tmp_path: Path) -> None:
    folder = write(tmp_path, "a_z1.tif", "a_z01.tif")
    refused(folder, r"2 frames claim 1 places \(c0 z1 t0 p0: a_z01\.tif and a_z1\.tif\)")


def test_unrelated_files_are_refused(tmp_path: Path) -> None:
    refused(write(tmp_path, "multi_f.tif", "zcyx.tif"), "do not tell the frames apart")


def test_an_index_that_no_database_holds_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path, "a_t20200101120000.tif"), "too large")


def test_a_configured_parser_takes_what_is_there(tmp_path: Path) -> None:
    names = ["img_phase_t000_p000_z000.tif", "img_phase_t000_p000_z002.tif"]
    acquisition, frames = read(write(tmp_path, *names), filename_parser="parse_sms_name")
    assert [frame.coords.slice for frame in frames] == [0, 2]
    assert acquisition.nbr_expected == 3
    assert acquisition.notes == ("3 frames are expected, 2 are there",)
    assert frames[0].channel_name == "phase"


def test_four_numbers_by_a_configured_parser(tmp_path: Path) -> None:
    names = [f"im_{c}_{z}_{t}_{p}.tif" for c in (0, 1) for z in (5, 6) for t in (0,) for p in (9,)]
    folder = write(tmp_path, *names)
    refused(folder, "numbers that have no label")
    _, frames = read(folder, filename_parser="parse_idx_from_name")
    assert {frame.coords for frame in frames} == {
        FrameCoords(c, z, 0, 9) for c in (0, 1) for z in (5, 6)
    }
    assert {frame.channel_name for frame in frames} == {"0", "1"}


def test_names_that_the_configured_parser_cannot_read_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, "img_phase_t000_p000_z000.tif", "other.tif")
    refused(
        folder, r"other\.tif: parse_sms_name: the name is not", filename_parser="parse_sms_name"
    )


def test_what_a_parser_says_of_the_dataset_is_global(tmp_path: Path) -> None:
    folder = write(tmp_path, "plate1_2_CALM2_x.tif")
    acquisition, _ = read(folder, filename_parser="parse_ml_name")
    assert acquisition.metadata == {"plate_id": "plate1", "stack_nbr": 2, "protein_name": "CALM2"}


# --- folders ----------------------------------------------------------------------------------


def test_folders_below_are_positions(tmp_path: Path) -> None:
    names = [f"Pos{p}/img_00000000{t}_Cy3_000.tif" for p in (0, 1, 10) for t in (0, 1)]
    acquisition, frames = read(write(tmp_path, *names))
    assert acquisition.position_names == ("Pos0", "Pos1", "Pos10")
    assert sorted({frame.coords.position for frame in frames}) == [0, 1, 10]
    assert acquisition.notes == ("8 positions between 0 and 10 are not there",)


def test_positions_may_be_picked(tmp_path: Path) -> None:
    folder = write(tmp_path, *(f"Pos{p}/img_000000000_Cy3_000.tif" for p in range(4)))
    acquisition, frames = read(folder, positions=(1, 3))
    assert [frame.coords.position for frame in frames] == [1, 3]
    assert acquisition.nbr_positions == 2
    refused(folder, "has no position 7", positions=(7,))


def test_grid_positions_keep_their_names(tmp_path: Path) -> None:
    labels = ["1-Pos_000_000", "1-Pos_000_001", "1-Pos_001_000"]
    names = [f"{label}/img_channel000_position000_time0_z000.tif" for label in labels]
    acquisition, frames = read(write(tmp_path, *names))
    assert acquisition.position_names == tuple(labels)
    assert [frame.coords.position for frame in frames] == [0, 1, 2]


def test_folders_and_names_may_count_positions_together(tmp_path: Path) -> None:
    names = [f"{well}/x_s{s}.tif" for well in ("control", "drug") for s in (1, 2)]
    acquisition, _ = read(write(tmp_path, *names))
    assert acquisition.position_names == ("control 1", "control 2", "drug 1", "drug 2")


def test_folders_and_names_that_contradict_are_refused(tmp_path: Path) -> None:
    names = ["channel1/x_ch2_t0.tif", "channel1/x_ch1_t0.tif", "channel2/x_ch1_t1.tif"]
    refused(write(tmp_path, *names), "files and their folders tell the channel differently")


@pytest.mark.fault("I-12")
def test_junk_is_ignored_with_a_note(tmp_path: Path) -> None:
    folder = write(tmp_path, "a1.tif", "a2.tif", "._a1.tif", "below/b1.tif")
    for name in ("Thumbs.db", ".DS_Store", "notes.txt"):
        (folder / name).write_bytes(b"x")
    acquisition, frames = read(folder)
    assert len(frames) == 2
    (note,) = acquisition.notes
    assert note.startswith(f"{tmp_path.name}: ignored ")
    assert note.endswith("and 2 more")


def test_a_directory_or_pipe_with_a_files_name_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", "a1.tif")
    (folder / "a2.tif").mkdir()
    refused(folder, r"a2\.tif: is a directory")
    if hasattr(os, "mkfifo"):
        other = write(tmp_path / "b", "a1.tif")
        os.mkfifo(other / "a2.tif")
        refused(other, r"a2\.tif: is a pipe")


def link(path: Path, target: Path) -> bool:
    try:
        path.symlink_to(target)
    except OSError:  # Windows without the right to make links
        return False
    return True


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", "secret.tif") / "secret.tif"
    folder = write(tmp_path / "in", "a1.tif")
    if link(folder / "a2.tif", outside):
        refused(folder, r"a2\.tif: is a link that leads out of its folder", UnsupportedFormat)
        (folder / "a2.tif").unlink()
        link(folder / "a2.tif", folder / "nothing.tif")
        refused(folder, r"a2\.tif: cannot be opened")
        link(tmp_path / "to_folder", write(tmp_path / "other", "a1.tif"))
        assert len(read(tmp_path / "to_folder")[1]) == 1


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, "a1.tif")
    try:
        os.link(folder / "a1.tif", os.fsencode(folder) + b"/a\xff2.tif")
    except (OSError, UnicodeError):  # file systems whose names are text by themselves
        return
    refused(folder, r"holds a name that is no text: 'a\\udcff2\.tif'")


@pytest.mark.fault("P8")
def test_a_folder_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path, "a1.tif")

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    refused(folder, "cannot be read: Permission denied", CorruptSource)
    assert SPEC.sniff(folder) is Match.NO


def test_empty_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    folder = write(tmp_path, *(f"img_00000000{t}_Cy3_000.tif" for t in range(5)))
    for t in (1, 2, 4):
        (folder / f"img_00000000{t}_Cy3_000.tif").write_bytes(b"")
    refused(
        folder,
        r"img_000000001_Cy3_000\.tif: is empty \(0 bytes\), and 2 others of 5 files too",
        CorruptSource,
    )


def test_unreadable_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    folder = write(tmp_path, *(f"a{n}.tif" for n in range(5)))
    for n in (2, 3):
        path = folder / f"a{n}.tif"
        path.write_bytes(path.read_bytes()[:-20])
    refused(folder, r"a2\.tif: .*; 1 others of 5 files too", CorruptSource)
    (folder / "a3.tif").write_bytes((folder / "a1.tif").read_bytes())
    refused(folder, r"a2\.tif")


def test_no_folder_and_nothing_in_it(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "a1.tif") / "a1.tif"
    refused(file, "is not a folder")
    (tmp_path / "b" / "c" / "d").mkdir(parents=True)
    refused(tmp_path / "b", "holds no TIFF file")
    refused(tmp_path / "nothing", "is not a folder")


def test_frames_of_one_folder_are_alike(tmp_path: Path) -> None:
    folder = write(tmp_path, "a1.tif", "a2.tif")
    tifffile.imwrite(folder / "a3.tif", pixels(6, 9), metadata=None)
    refused(folder, r"a3\.tif: is 6x9 uint16, a1\.tif is 6x8 uint16", UnsupportedFormat)
    tifffile.imwrite(folder / "a3.tif", pixels(6, 8, dtype="uint8"), metadata=None)
    refused(folder, r"a3\.tif: is 6x8 uint8, a1\.tif is 6x8 uint16", UnsupportedFormat)


def test_colours_stay_colours(tmp_path: Path) -> None:
    data = pixels(6, 8, 3, dtype="uint8")
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"a{number}.tif", data, photometric="rgb", metadata=None)
    with SPEC.open(tmp_path, ReaderOptions()) as reader:
        assert reader.acquisition.colors == 3
        np.testing.assert_array_equal(reader.read(next(reader.frames())), data)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path, "a1.tif", "a2.tif")
    with SPEC.open(folder, ReaderOptions()) as reader:
        frame = list(reader.frames())[1]
        tifffile.imwrite(folder / "a2.tif", pixels(60, 80), metadata=None)
        with pytest.raises(SourceChanged):
            reader.read(frame)


def test_limits_count_files(tmp_path: Path) -> None:
    folder = write(tmp_path, "a1.tif", "a2.tif", "a3.tif")
    refused(folder, "holds 3 files, the limit is 2", limits=ReadLimits(max_frames=2))


def test_sniffing_looks_inside(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", "a1.tif")
    ome = write(tmp_path / "ome", "a1.ome.tif")
    assert SPEC.sniff(plain) is Match.MAYBE
    assert SPEC.sniff(DATA / "mm20alpha_separate_images") is Match.YES
    assert {SPEC.sniff(p) for p in (ome, plain / "a1.tif", tmp_path / "no", tmp_path)} <= {
        Match.NO,
        Match.MAYBE,
    }
    assert SPEC.sniff(ome) is Match.NO
    assert registry.find(plain).name == "tif_folder"
    assert registry.find(DATA / "mm20alpha_separate_images").name == "tif_folder"


# --- pages ------------------------------------------------------------------------------------


def stack(path: Path, count: int, **options: Any) -> None:
    data = pixels(count, 6, 8, seed=count)
    tifffile.imwrite(path, data, photometric="minisblack", **({"metadata": None} | options))


def test_pages_fill_the_slices(tmp_path: Path) -> None:
    for t in (0, 1):
        stack(tmp_path / f"x_t{t}.tif", 3)
    _, frames = read(tmp_path)
    assert [frame.coords for frame in frames] == [
        FrameCoords(0, z, t, 0) for t in (0, 1) for z in (0, 1, 2)
    ]


def test_pages_of_a_hyperstack_are_what_it_says(tmp_path: Path) -> None:
    for p in (0, 1):
        data = pixels(2, 2, 6, 8, seed=p)
        tifffile.imwrite(tmp_path / f"pos{p}.tif", data, imagej=True, metadata={"axes": "TCYX"})
    _, frames = read(tmp_path)
    assert [frame.coords for frame in frames] == [
        FrameCoords(c, 0, t, p) for p in (0, 1) for t in (0, 1) for c in (0, 1)
    ]


def test_pages_may_not_claim_what_the_name_tells(tmp_path: Path) -> None:
    for z in (0, 1):
        stack(tmp_path / f"x_z{z}.tif", 3)
    refused(
        tmp_path, r"x_z0\.tif: holds 3 pages on the axes z, which its name tells", UnsupportedFormat
    )


def test_stacks_of_different_heights_have_holes(tmp_path: Path) -> None:
    stack(tmp_path / "x_t0.tif", 3)
    stack(tmp_path / "x_t1.tif", 2)
    refused(tmp_path, "1 frames are missing: c0 z2 t1 p0", CorruptSource)


# --- metadata.txt -----------------------------------------------------------------------------


def summary(**counts: Any) -> dict[str, Any]:
    return {
        "Channels": 1, "Slices": 1, "Frames": 1, "Positions": 1, "ChNames": ["Cy3", "DAPI"],
        "PixelSize_um": 0.65, "z-step_um": 2, "Interval_ms": 500, **counts,
    }  # fmt: skip


def frame_entry(t: int, c: int, z: int, **more: Any) -> dict[str, Any]:
    """One entry of Micro-Manager 1.4."""
    name = f"img_{t:09d}_{['Cy3', 'DAPI'][c]}_{z:03d}.tif"
    return {f"FrameKey-{t}-{c}-{z}": {"FileName": name, "Channel": ["Cy3", "DAPI"][c], **more}}


def name_of(t: int, c: int, z: int) -> str:
    return str(next(iter(frame_entry(t, c, z).values()))["FileName"])


def mm_folder(folder: Path, places: Sequence[tuple[int, int, int]], text: dict[str, Any]) -> Path:
    write(folder, *(name_of(*place) for place in places))
    (folder / "metadata.txt").write_text(json.dumps(text, indent=2))
    return folder


def test_the_log_outranks_the_names(tmp_path: Path) -> None:
    entry = {"ChannelIndex": 1, "PositionIndex": 4, "Exposure-ms": 10}
    folder = mm_folder(
        tmp_path, [(0, 0, 0)], {"Summary": summary(), **frame_entry(0, 0, 0, **entry)}
    )
    acquisition, (frame,) = read(folder)
    assert frame.coords == FrameCoords(1, 0, 0, 4)
    assert frame.channel_name == "DAPI"
    said = frame.metadata["MicroManagerMetadata"]
    assert isinstance(said, dict)
    assert said["Exposure-ms"] == 10
    assert acquisition.metadata.keys() == {"Summary"}
    assert (acquisition.pixel_size_x_um, acquisition.z_step_um) == (0.65, 2.0)
    assert acquisition.time_interval_s == 0.5


def test_a_configured_parser_outranks_the_log(tmp_path: Path) -> None:
    write(tmp_path, "img_Cy3_t001_p002_z003.tif")
    entry = {"Coords-img_Cy3_t001_p002_z003.tif": {"time": 0, "z": 0, "channel": 0, "position": 0}}
    (tmp_path / "metadata.txt").write_text(json.dumps({"Summary": {}, **entry}))
    _, (frame,) = read(tmp_path, filename_parser="parse_sms_name")
    assert frame.coords == FrameCoords(0, 3, 1, 2)
    assert "MicroManagerMetadata" in frame.metadata


def test_entries_of_version_2_name_folder_and_file(tmp_path: Path) -> None:
    name = "img_channel001_position000_time000000000_z000.tif"
    write(tmp_path, f"Default/{name}")
    text = {
        "Summary": summary(),
        f"Coords-Default/{name}": {"FrameIndex": 0, "SliceIndex": 0, "ChannelIndex": 1},
        f"Metadata-Default/{name}": {"Exposure-ms": 7.5, "PositionName": "Default"},
    }
    (tmp_path / "Default" / "metadata.txt").write_text(json.dumps(text))
    _, (frame,) = read(tmp_path)
    assert (frame.coords.channel, frame.channel_name, frame.position_name) == (1, "DAPI", "Default")
    said = frame.metadata["MicroManagerMetadata"]
    assert isinstance(said, dict)
    assert said["Exposure-ms"] == 7.5


def test_a_logged_file_that_is_missing_is_named(tmp_path: Path) -> None:
    text = {"Summary": summary(), **frame_entry(0, 0, 0), **frame_entry(1, 0, 0)}
    folder = mm_folder(tmp_path, [(0, 0, 0)], text)
    cause = r"metadata\.txt: lists 1 files that are missing: img_000000001_Cy3_000\.tif"
    refused(folder, cause, CorruptSource)


def test_what_the_microscope_left_out_is_no_gap(tmp_path: Path) -> None:
    """DAPI at every second timepoint only; the log lists all that was written."""
    places = [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    text: dict[str, Any] = {"Summary": summary(Channels=2, Frames=2)}
    for place in places:
        text |= frame_entry(*place)
    acquisition, frames = read(mm_folder(tmp_path, places, text))
    assert len(frames) == 3
    assert acquisition.nbr_expected == 4
    assert acquisition.notes == ("4 frames are expected, 3 are there",)


def test_a_stopped_acquisition_is_taken_with_a_note(tmp_path: Path) -> None:
    places = [(0, 0, 0), (0, 0, 1), (1, 0, 0)]
    text = {"Summary": summary(Slices=2, Frames=5)}
    acquisition, frames = read(mm_folder(tmp_path, places, text))
    assert len(frames) == 3
    assert acquisition.nbr_expected == 10
    assert "stopped early" in acquisition.notes[0]


@pytest.mark.parametrize(
    ("places", "plan", "cause"),
    [
        ([(0, 0, 0), (2, 0, 0)], {"Frames": 5}, "1 frames are missing: c0 z0 t1 p0"),
        ([(0, 0, 0), (1, 0, 0)], {"Channels": 2, "Frames": 2}, "promises 4 frames, 2 are there"),
    ],
)
def test_a_gap_inside_a_plan_is_refused(
    tmp_path: Path, places: list[tuple[int, int, int]], plan: dict[str, int], cause: str
) -> None:
    refused(mm_folder(tmp_path, places, {"Summary": summary(**plan)}), cause, CorruptSource)


def test_several_positions_keep_their_own_metadata(tmp_path: Path) -> None:
    for p in (0, 1):
        text = {"Summary": summary(Positions=2), **frame_entry(0, 0, 0, PositionIndex=p)}
        mm_folder(tmp_path / f"Pos{p}", [(0, 0, 0)], text)
    with SPEC.open(tmp_path, ReaderOptions()) as reader:
        assert [f.coords.position for f in reader.frames()] == [0, 1]
        assert reader.acquisition.metadata.keys() == {"Summary", "folders"}
        assert {path.name for path in reader.sources} == {
            "img_000000000_Cy3_000.tif",
            "metadata.txt",
        }
        assert len(reader.sources) == 4
    shutil.rmtree(tmp_path / "Pos0")
    acquisition, (frame,) = read(tmp_path)
    assert frame.coords.position == 1
    assert acquisition.nbr_expected == 2


WHOLE = json.dumps({"Summary": summary(), **frame_entry(0, 0, 0), **frame_entry(1, 0, 0)}, indent=2)


@pytest.mark.parametrize(
    "cut",
    [
        lambda text: text.rstrip("}\n "),
        lambda text: text.rstrip()[:-1],
        lambda text: text.rstrip()[:-1].rstrip() + ",",
        lambda text: text.rstrip()[:-1].rstrip() + ",\n}",
    ],
    ids=["both braces", "last brace", "comma", "comma and brace"],
)
def test_a_text_that_was_not_closed_is_repaired(tmp_path: Path, cut: Callable[[str], str]) -> None:
    path = tmp_path / "metadata.txt"
    path.write_text(cut(WHOLE))
    text = read_metadata_text(path, max_bytes=10**6)
    assert text.problem is not None
    assert text.summary["Channels"] == 1
    assert "img_000000000_Cy3_000.tif" in text.entries


def test_a_text_cut_anywhere_keeps_its_whole_entries(tmp_path: Path) -> None:
    path = tmp_path / "metadata.txt"
    for size in range(len(WHOLE)):
        path.write_text(WHOLE[:size])
        text = read_metadata_text(path, max_bytes=10**6)
        known = [entry.metadata["FileName"] for entry in text.entries.values()]
        assert known == ["img_000000000_Cy3_000.tif", "img_000000001_Cy3_000.tif"][: len(known)]
    path.write_text(WHOLE)
    assert read_metadata_text(path, max_bytes=10**6).problem is None


@pytest.mark.parametrize(
    "raw", [b"", b"not json", b"[1, 2]", b"\xff\xfe\x00", b'{"a"', b"{" * 5000]
)
def test_a_damaged_text_loses_no_frames(tmp_path: Path, raw: bytes) -> None:
    write(tmp_path, "a1.tif", "a2.tif")
    (tmp_path / "metadata.txt").write_bytes(raw)
    acquisition, frames = read(tmp_path)
    assert len(frames) == 2
    assert not raw or any("metadata.txt" in note for note in acquisition.notes)


def test_odd_values_in_a_text(tmp_path: Path) -> None:
    path = tmp_path / "metadata.txt"
    path.write_bytes(b'\xef\xbb\xbf{"Summary": {"a": NaN, "b": "x\\u0000y", "c": "\\ud800"}}')
    text = read_metadata_text(path, max_bytes=10**6)
    assert text.summary == {"a": "NaN", "b": "x\ufffdy", "c": "\ufffd"}


def test_a_text_above_the_limit_is_read_up_to_it(tmp_path: Path) -> None:
    path = tmp_path / "metadata.txt"
    path.write_text(WHOLE)
    text = read_metadata_text(path, max_bytes=len(WHOLE) - 10)
    assert text.problem is not None
    assert "too large" in text.problem
    assert text.summary["Channels"] == 1


@pytest.mark.parametrize(
    ("said", "planned"),
    [
        ({"Channels": 2, "Slices": 3, "Frames": 4, "Positions": 5}, (2, 3, 4, 5)),
        ({"Channels": 2, "Slices": 3, "Frames": 4}, None),
        ({"Channels": -1, "Slices": -1, "Frames": -1, "Positions": -1}, None),
        ({"IntendedDimensions": {"channel": 2, "time": 3}}, (2, 1, 3, 1)),
        ({"IntendedDimensions": {"channel": 2, "axis 3": 9}}, None),
    ],
)
def test_what_a_summary_plans(
    said: dict[str, Any], planned: tuple[int, int, int, int] | None
) -> None:
    assert planned_counts(said) == planned


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    write(tmp_path, "z0.tif")
    (tmp_path / "z1.tif").symlink_to(tmp_path / "z1.tif")
    refused(tmp_path, r"z1\.tif: cannot be opened", CorruptSource)


def test_channels_numbered_by_wavelength(tmp_path: Path) -> None:
    names = [f"img_ch{c}_t{t:03d}.tif" for c in (405, 488) for t in range(2)]
    acquisition, frames = read(write(tmp_path, *names))
    assert {f.coords.channel for f in frames} == {405, 488}
    assert acquisition.notes == ("channels have the numbers 405, 488",)
    (tmp_path / names[0]).unlink()
    refused(tmp_path, "1 frames are missing: c405 z0 t0 p0", CorruptSource)


def test_wavelengths_of_metamorph_name_their_channels(tmp_path: Path) -> None:
    names = [f"exp1_w{w}_s{s}_t1.TIF" for w in ("1405", "2488") for s in (1, 2)]
    acquisition, frames = read(write(tmp_path, *names))
    assert {f.coords.channel for f in frames} == {1, 2}
    assert (acquisition.channel_names, acquisition.notes) == (("405", "488"), ())


@pytest.mark.parametrize(
    ("label", "numbers", "note"),
    [
        ("z", (0, 5, 10, 15), "slice numbers go in steps of 5"),
        ("t", (0, 10, 20), "timepoint numbers go in steps of 10"),
    ],
)
def test_numbers_in_constant_steps_are_whole(
    tmp_path: Path, label: str, numbers: Sequence[int], note: str
) -> None:
    acquisition, frames = read(write(tmp_path, *(f"img_{label}{n}.tif" for n in numbers)))
    found = [f.coords.slice if label == "z" else f.coords.timepoint for f in frames]
    assert (found, acquisition.notes) == (list(numbers), (note,))
