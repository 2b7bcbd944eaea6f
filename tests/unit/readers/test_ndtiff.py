"""NDTiff: the axes of the index are the truth, and index and pages must agree."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import FrameCoords, SourceFrame
from imaging_db.readers import registry
from imaging_db.readers.base import Match, ReaderOptions, ReadLimits
from imaging_db.readers.ndtiff import SPEC
from imaging_db.readers.ndtiff_axes import place_axes
from tests.support.acquisitions import pixels
from tests.support.corpus import DATA
from tests.support.ndtiff import write_ndtiff

REAL = DATA / "ndtiff_v3_12bit_mda"


def images(*axes: dict[str, Any]) -> list[tuple[dict[str, Any], np.ndarray[Any, Any]]]:
    return [(item, pixels(6, 8, seed=number)) for number, item in enumerate(axes)]


def frames_of(path: Path, options: ReaderOptions | None = None) -> list[SourceFrame]:
    with SPEC.open(path, options or ReaderOptions()) as reader:
        return list(reader.frames())


def coords_of(*axes: dict[str, Any], summary: dict[str, Any] | None = None) -> list[FrameCoords]:
    return [placement.coords for placement in place_axes(axes, summary or {})]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the real dataset, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(REAL, folder)
    return folder


def stack_of(folder: Path) -> Path:
    return next(folder.glob("*_NDTiffStack.tif"))


@pytest.mark.fault("I-4")
def test_indices_in_the_page_tags_lie() -> None:
    """All eight pages say index 0 and channel Default; the axes tell them apart."""
    frames = frames_of(REAL)
    said = [frame.metadata["MicroManagerMetadata"] for frame in frames]
    assert {item["FrameIndex"] for item in said if isinstance(item, dict)} == {0}
    assert [frame.coords for frame in frames] == [
        FrameCoords(c, 0, t, 0) for t in range(4) for c in range(2)
    ]
    assert [frame.channel_name for frame in frames[:2]] == ["DAPI", "FITC"]


def test_twelve_bit_pixels_are_uint16() -> None:
    with SPEC.open(REAL, ReaderOptions()) as reader:
        acquisition = reader.acquisition
        assert reader.read(next(reader.frames())).dtype == np.uint16
    assert (acquisition.nbr_frames, acquisition.nbr_channels, acquisition.nbr_timepoints) == (
        8,
        2,
        4,
    )
    assert acquisition.channel_names == ("DAPI", "FITC")
    assert acquisition.metadata["NDTiffVersion"] == "3.3"
    assert acquisition.pixel_size_x_um == 1.0  # stated in the summary
    assert acquisition.z_step_um is None


def test_one_stack_beside_its_index() -> None:
    stack = stack_of(REAL)
    with SPEC.open(stack, ReaderOptions()) as reader:
        assert len(list(reader.frames())) == 8
        assert list(reader.sources) == [stack, REAL / "NDTiff.index"]


def test_sniffing_is_exact() -> None:
    assert SPEC.sniff(REAL) is SPEC.sniff(stack_of(REAL)) is Match.EXACT
    assert SPEC.sniff(REAL / "NDTiff.index") is Match.NO
    assert SPEC.sniff(DATA / "leica_zstack_folder") is Match.NO
    assert SPEC.sniff(DATA / "nothing") is Match.NO
    assert registry.find(REAL).name == registry.find(stack_of(REAL)).name == "ndtiff"


@pytest.mark.parametrize("version", [2, 3])
def test_pixels_come_back(tmp_path: Path, version: int) -> None:
    written = images(*({"time": t, "z": z} for t in range(2) for z in range(3)))
    folder = write_ndtiff(tmp_path / "set", written, version=version)
    with SPEC.open(folder, ReaderOptions()) as reader:
        for frame, (axes, data) in zip(reader.frames(), written, strict=True):
            assert frame.coords == FrameCoords(0, axes["z"], axes["time"], 0)
            np.testing.assert_array_equal(reader.read(frame), data)


def test_colours_and_bytes(tmp_path: Path) -> None:
    colours = pixels(6, 8, 3, dtype="uint8")
    grey = pixels(6, 8, dtype="uint8")
    for name, data in (("colours", colours), ("grey", grey)):
        folder = write_ndtiff(tmp_path / name, [({"z": 0}, data)])
        with SPEC.open(folder, ReaderOptions()) as reader:
            (frame,) = reader.frames()
            np.testing.assert_array_equal(reader.read(frame), data)
            assert reader.acquisition.colors == (3 if data.ndim == 3 else 1)


def test_images_of_several_sizes_are_ragged(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", [({"z": 0}, pixels(6, 8)), ({"z": 1}, pixels(4, 8))])
    with SPEC.open(folder, ReaderOptions()) as reader:
        acquisition = reader.acquisition
        assert (acquisition.height, acquisition.width, acquisition.dtype) == (None, 8, "uint16")
        assert [frame.shape for frame in reader.frames()] == [(6, 8), (4, 8)]


def test_a_set_of_several_files(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images(*({"time": t} for t in range(5))), per_file=2)
    frames = frames_of(folder)
    assert [frame.coords.timepoint for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.source.page for frame in frames] == [0, 1, 0, 1, 0]
    with SPEC.open(folder / "run_NDTiffStack_1.tif", ReaderOptions()) as reader:
        assert [frame.coords.timepoint for frame in reader.frames()] == [2, 3]
        assert reader.acquisition.notes == ("run_NDTiffStack_1.tif is one of 3 files of its set",)


def test_full_resolution_is_taken_from_a_pyramid(tmp_path: Path) -> None:
    tiles = [{"row": r, "column": c} for r in (0, 1) for c in (0, 1)]
    write_ndtiff(tmp_path / "pyramid" / "Full resolution", images(*tiles), version=2)
    write_ndtiff(tmp_path / "pyramid" / "Downsampled_x2", images(tiles[0]), version=2)
    assert SPEC.sniff(tmp_path / "pyramid") is Match.EXACT
    with SPEC.open(tmp_path / "pyramid", ReaderOptions()) as reader:
        assert [frame.coords.position for frame in reader.frames()] == [0, 1, 2, 3]
        assert reader.acquisition.position_names[1] == "row 0, column 1"
        assert reader.acquisition.notes == ("smaller copies left out: Downsampled_x2",)


def test_what_was_planned_is_noted(tmp_path: Path) -> None:
    summary = {"Channels": 1, "Slices": 4, "Frames": 1, "Positions": 1, "z-step_um": 0.5}
    folder = write_ndtiff(tmp_path / "set", images({"z": 0}, {"z": 1}), summary=summary)
    with SPEC.open(folder, ReaderOptions()) as reader:
        assert reader.acquisition.nbr_expected == 4
        assert reader.acquisition.notes == ("4 frames were planned, 2 were saved",)
        assert reader.acquisition.z_step_um == 0.5


def test_positions_are_picked_by_number(tmp_path: Path) -> None:
    axes = [{"position": f"Pos{p}"} for p in (2, 0, 10)]
    folder = write_ndtiff(tmp_path / "set", images(*axes))
    frames = frames_of(folder, ReaderOptions(positions=(10, 2)))
    assert [(f.coords.position, f.position_name) for f in frames] == [(2, "Pos2"), (10, "Pos10")]
    with pytest.raises(ReaderError, match="has no position 1"):
        frames_of(folder, ReaderOptions(positions=(1,)))


# --- axes -------------------------------------------------------------------------------------


def test_labels_of_positions_need_not_come_in_order() -> None:
    found = coords_of({"position": "Pos2"}, {"position": "Pos0"}, {"position": "Pos1"})
    assert [coords.position for coords in found] == [2, 0, 1]


@pytest.mark.parametrize("labels", [["1-Pos_000_001", "1-Pos_000_000"], ["A1", "B1"], ["x", "y"]])
def test_other_labels_count_by_first_appearance(labels: list[str]) -> None:
    assert [c.position for c in coords_of(*({"position": x} for x in labels))] == [0, 1]


def test_channels_count_by_first_appearance_or_by_their_list() -> None:
    axes = [{"channel": "Cy5"}, {"channel": "Cy3"}]
    assert [c.channel for c in coords_of(*axes)] == [0, 1]
    assert [c.channel for c in coords_of(*axes, summary={"ChNames": ["Cy3", "GFP", "Cy5"]})] == [
        2,
        0,
    ]
    named = place_axes([{"channel": 1}], {"ChNames": ["Cy3", "GFP"]})
    assert (named[0].coords.channel, named[0].channel_name) == (1, "GFP")


def test_numbers_stay_gaps_included_and_negative_ones_are_shifted() -> None:
    assert [c.slice for c in coords_of({"z": 7}, {"z": 3})] == [7, 3]
    assert [c.slice for c in coords_of({"z": -2}, {"z": 0}, {"z": 1})] == [0, 2, 3]
    assert [c.position for c in coords_of({"row": -1, "column": 0}, {"row": 5, "column": 0})] == [
        0,
        1,
    ]


def test_the_order_of_axes_in_an_entry_means_nothing() -> None:
    assert coords_of({"z": 1, "time": 2}, {"time": 2, "z": 3}) == [
        FrameCoords(0, 1, 2, 0),
        FrameCoords(0, 3, 2, 0),
    ]


def test_an_unknown_axis_is_refused_if_it_varies() -> None:
    assert coords_of({"view": 1, "z": 0}, {"view": 1, "z": 1})[1].slice == 1
    with pytest.raises(ValueError, match="axis 'view' with 2 values"):
        coords_of({"view": 0, "z": 0}, {"view": 1, "z": 0})


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "channel": st.sampled_from(["DAPI", "FITC", "Cy5"]),
                "z": st.integers(-3, 3),
                "time": st.integers(0, 9),
                "position": st.sampled_from(["Pos1", "Pos12", "well A1", "Pos2"]),
                "row": st.integers(-2, 2),
            },
        ),
        min_size=1,
        max_size=20,
    )
)
def test_axes_are_mapped_one_to_one(axes: list[dict[str, Any]]) -> None:
    full = [{"channel": "DAPI", "z": 0, "time": 0, "position": "Pos1", "row": 0, **x} for x in axes]
    unique = list({tuple(sorted(item.items())): item for item in full}.values())
    assert len(set(coords_of(*unique))) == len(unique)


# --- damage -----------------------------------------------------------------------------------


def test_an_index_that_was_cut_is_refused(copy: Path) -> None:
    index = copy / "NDTiff.index"
    whole = index.read_bytes()
    entry = len(whole) // 8
    for size in range(1, len(whole)):
        index.write_bytes(whole[:size])
        cause = "is not in NDTiff.index" if size % entry == 0 else "truncated"
        with pytest.raises(CorruptSource, match=cause):
            SPEC.open(copy, ReaderOptions())


def test_unused_room_behind_the_index_is_allowed(copy: Path) -> None:
    with (copy / "NDTiff.index").open("ab") as stream:
        stream.write(b"\0" * 100)
    assert len(frames_of(copy)) == 8


def damage_axes(data: bytes) -> bytes:
    return data.replace(b'{"channel"', b'["channel"', 1)


def damage_name(data: bytes) -> bytes:
    return data.replace(b"12_bit", b"../bit", 1)


def damage_width(data: bytes) -> bytes:
    return data.replace(struct.pack("<II", 64, 64), struct.pack("<II", 32, 64), 1)


def damage_offset(data: bytes) -> bytes:
    return data.replace(struct.pack("<III", 512, 64, 64), struct.pack("<III", 514, 64, 64), 1)


def damage_type(data: bytes) -> bytes:
    return data.replace(struct.pack("<III", 64, 64, 4), struct.pack("<III", 64, 64, 99), 1)


def swap_axes(data: bytes) -> bytes:
    return data.replace(b'DAPI","time":0', b'FITC","time":9', 1)


def repeat_axes(data: bytes) -> bytes:
    return data.replace(b'FITC","time":0', b'DAPI","time":0', 1)


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (damage_axes, "axes are not JSON"),
        (damage_name, "outside the folder"),
        (damage_width, "NDTiff.index says"),
        (damage_offset, "no page has its pixels"),
        (damage_type, "pixel type 99"),
        (swap_axes, "its metadata says"),
        (repeat_axes, "its metadata says"),
        (lambda data: b"", "lists no image"),
        (lambda data: data + data, "no page has its pixels"),
        (lambda data: data + b"garbage", "damaged|truncated"),
    ],
)
def test_a_damaged_index_is_refused(
    copy: Path, damage: Callable[[bytes], bytes], cause: str
) -> None:
    index = copy / "NDTiff.index"
    before = index.read_bytes()
    index.write_bytes(damage(before))
    assert index.read_bytes() != before
    with pytest.raises(ReaderError, match=cause):
        SPEC.open(copy, ReaderOptions())


@pytest.mark.fault("I-3")
def test_any_flipped_byte_of_the_index_is_noticed_or_harmless(copy: Path) -> None:
    """Whatever is read after damage is the same as before it."""
    good = [(frame.coords.slice, frame.coords.timepoint) for frame in frames_of(copy)]
    index = copy / "NDTiff.index"
    whole = index.read_bytes()
    for place in range(0, len(whole), 3):
        index.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            found = frames_of(copy)
        except ReaderError:
            continue
        assert [(f.coords.slice, f.coords.timepoint) for f in found] == good


def test_truncation_is_never_silent(copy: Path) -> None:
    stack = stack_of(copy)
    whole = stack.read_bytes()
    for part in range(1, 40):
        stack.write_bytes(whole[: len(whole) * part // 40])
        with pytest.raises(ReaderError):
            SPEC.open(copy, ReaderOptions())


def test_a_file_of_the_set_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images(*({"z": z} for z in range(4))), per_file=2)
    (folder / "run_NDTiffStack_1.tif").unlink()
    with pytest.raises(CorruptSource, match=r"names run_NDTiffStack_1\.tif, which is missing"):
        SPEC.open(folder, ReaderOptions())


def test_swapped_files_of_a_set_are_noticed(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images(*({"z": z} for z in range(4))), per_file=2)
    one, other = folder / "run_NDTiffStack.tif", folder / "run_NDTiffStack_1.tif"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(CorruptSource, match="its metadata says"):
        SPEC.open(folder, ReaderOptions())


def test_an_empty_or_foreign_stack_beside_the_set_is_named(copy: Path) -> None:
    stray = copy / "12_bit_pycromanager_mda_NDTiffStack_1.tif"
    stray.touch()
    with pytest.raises(CorruptSource, match=r"_NDTiffStack_1\.tif: is empty \(0 bytes\)"):
        SPEC.open(copy, ReaderOptions())
    shutil.copy(stack_of(REAL), stray)
    with pytest.raises(CorruptSource, match=r"is not named by NDTiff\.index"):
        SPEC.open(copy, ReaderOptions())


def test_without_index_the_pages_tell_their_axes(copy: Path) -> None:
    (copy / "NDTiff.index").unlink()
    assert SPEC.sniff(copy) is Match.EXACT
    with SPEC.open(copy, ReaderOptions()) as reader:
        assert reader.acquisition.notes == ("NDTiff.index is missing; the pages told their axes",)
        assert [f.coords for f in reader.frames()] == [f.coords for f in frames_of(REAL)]


def test_without_index_and_axes_it_is_refused(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images({"z": 0}, {"z": 1}), tell_axes=False)
    assert len(frames_of(folder)) == 2
    assert frames_of(folder)[1].metadata["Axes"] == {"z": 1}
    (folder / "NDTiff.index").unlink()
    with pytest.raises(CorruptSource, match=r"page 0: NDTiff\.index is missing"):
        SPEC.open(folder, ReaderOptions())


def test_images_that_were_written_twice_are_refused(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images({"z": 0}, {"z": 1}, {"z": 0}))
    with pytest.raises(CorruptSource, match="images 0 and 2 lie on the same axes"):
        SPEC.open(folder, ReaderOptions())


def test_an_axis_that_is_no_frames_axis_is_refused(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images({"angle": 0}, {"angle": 1}))
    with pytest.raises(UnsupportedFormat, match="axis 'angle' with 2 values"):
        SPEC.open(folder, ReaderOptions())


def test_a_link_out_of_the_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    stack = stack_of(copy)
    outside = tmp_path / "outside.tif"
    stack.rename(outside)
    try:
        stack.symlink_to(outside)
    except OSError:  # Windows without the right to make links: there is nothing to refuse
        stack.write_bytes(b"")
    with pytest.raises(ReaderError, match=r"link that leads out|is empty"):
        SPEC.open(copy, ReaderOptions())


def test_metadata_that_is_no_json_stays_as_text(copy: Path) -> None:
    stack = stack_of(copy)
    data = bytearray(stack.read_bytes())
    start = data.index(b'{"Z-Description"') if b'{"Z-Description"' in data else data.index(b'{"')
    place = data.index(b'"Axes"', start)
    data[place : place + 6] = b"'Axes'"
    stack.write_bytes(data)
    frame = frames_of(copy)[0]
    assert isinstance(frame.metadata["MicroManagerMetadata"], str)
    assert frame.metadata["Axes"] == {"channel": "DAPI", "time": 0}


def test_odd_numbers_in_metadata_become_words(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images({"z": 0}), metadata={"Gain": float("nan")})
    said = frames_of(folder)[0].metadata["MicroManagerMetadata"]
    assert isinstance(said, dict)
    assert said["Gain"] == "NaN"
    json.dumps(said, allow_nan=False)


def test_version_1_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "old_NDTiffStack.tif"
    path.write_bytes(b"II*\0" + struct.pack("<7I", 40, 54773648, 0, 483765892, 0, 483729, 1))
    assert SPEC.sniff(path) is Match.EXACT
    with pytest.raises(UnsupportedFormat, match="NDTiff version 1"):
        SPEC.open(path, ReaderOptions())


def test_limits_count(tmp_path: Path) -> None:
    folder = write_ndtiff(tmp_path / "set", images(*({"z": z} for z in range(4))))
    with pytest.raises(UnsupportedFormat, match="more than 3 images"):
        SPEC.open(folder, ReaderOptions(limits=ReadLimits(max_frames=3)))
    with pytest.raises(UnsupportedFormat, match="the limit is"):
        SPEC.open(folder, ReaderOptions(limits=ReadLimits(max_frame_bytes=10)))


def test_a_damaged_name_of_an_axis(copy: Path) -> None:
    index = bytearray((copy / "NDTiff.index").read_bytes())
    index[112] = ord("g")
    (copy / "NDTiff.index").write_bytes(index)
    with pytest.raises(CorruptSource, match=r"page 1: its metadata says .* says {'ghannel'"):
        SPEC.open(copy, ReaderOptions())
