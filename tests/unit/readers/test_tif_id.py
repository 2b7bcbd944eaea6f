"""One TIFF file: what ImageJ and tifffile say of its pages, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import FrameCoords, SourceFrame, sha256_of_pixels
from imaging_db.readers import registry
from imaging_db.readers.base import Match, ReaderOptions
from imaging_db.readers.imagej import calibration, imagej_order, imagej_values, shaped_order
from imaging_db.readers.tif_id import SPEC
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.corpus import DATA


def frames_of(path: Path, options: ReaderOptions | None = None) -> list[SourceFrame]:
    """All frames, after reading the pixels of each."""
    with SPEC.open(path, options or ReaderOptions()) as reader:
        frames = list(reader.frames())
        for frame in frames:
            read = reader.read(frame)
            assert (read.shape, read.dtype.name) == (frame.shape, frame.dtype)
        return frames


def test_a_hyperstack_runs_over_channels_first(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    data = imagej_stack(path, t=3, z=2, c=2)
    with SPEC.open(path, ReaderOptions()) as reader:
        acquisition = reader.acquisition
        for frame in reader.frames():
            c, z, t, _ = frame.coords
            np.testing.assert_array_equal(reader.read(frame), data[t, z, c])
    assert acquisition.nbr_frames == 12
    assert (acquisition.nbr_channels, acquisition.nbr_slices, acquisition.nbr_timepoints) == (
        2,
        2,
        3,
    )


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 3),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    byteorder=st.sampled_from("<>"),
)
def test_any_hyperstack_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: str,
    byteorder: str,
) -> None:
    path = tmp_path_factory.mktemp("stack") / "stack.tif"
    data = pixels(*shape, 5, 7, dtype=dtype, seed=sum(shape))
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX"}, byteorder=byteorder)
    with SPEC.open(path, ReaderOptions()) as reader:
        found = {frame.coords: sha256_of_pixels(reader.read(frame)) for frame in reader.frames()}
    wanted = {FrameCoords(c, z, t, 0): data[t, z, c] for t, z, c in np.ndindex(*shape)}
    assert found == {coords: sha256_of_pixels(frame) for coords, frame in wanted.items()}


def test_a_real_hyperstack_tells_sizes_and_metadata() -> None:
    with SPEC.open(DATA / "imagej_hyperstacks" / "zcyx.tiff", ReaderOptions()) as reader:
        acquisition = reader.acquisition
        first = next(reader.frames())
    assert acquisition.pixel_size_x_um == pytest.approx(1 / 2.295473)
    assert acquisition.z_step_um == pytest.approx(0.054455)
    assert acquisition.time_interval_s is None
    assert acquisition.metadata["ImageJ"]["unit"] == "µm"  # type: ignore[index, call-overload]
    assert str(acquisition.metadata["Info"]).startswith("Cells double labeled with P53-YFP")
    assert acquisition.metadata["Ranges"] == [0.0, 230.0, 0.0, 208.0]
    assert first.metadata["ImageWidth"] == 50
    assert "IJMetadata" not in first.metadata


def test_labels_of_slices_stay_with_their_frames(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    metadata = {"axes": "ZYX", "Labels": ["243", "247", "251"], "Info": '{"Prefix": "x"}'}
    tifffile.imwrite(path, pixels(3, 4, 5), imagej=True, metadata=metadata)
    assert [frame.metadata["Label"] for frame in frames_of(path)] == ["243", "247", "251"]
    with SPEC.open(path, ReaderOptions()) as reader:
        assert reader.acquisition.metadata["Info"] == {"Prefix": "x"}
        assert reader.acquisition.metadata["Labels"] == ["243", "247", "251"]


def test_positions_of_imagingdb_run_between_slices_and_frames() -> None:
    told = imagej_values(
        {"ImageJ": "", "channels": "2", "slices": "3", "positions": "2", "frames": "2"}
    )
    order = imagej_order(told, pages=24)
    assert [order.coords(page) for page in (0, 1, 2, 6, 12, 23)] == [
        FrameCoords(0, 0, 0, 0),
        FrameCoords(1, 0, 0, 0),
        FrameCoords(0, 1, 0, 0),
        FrameCoords(0, 0, 0, 1),
        FrameCoords(0, 0, 1, 0),
        FrameCoords(1, 2, 1, 1),
    ]


@pytest.mark.parametrize(
    ("lines", "pages", "last"),
    [
        ({"images": "5"}, 5, FrameCoords(0, 4, 0, 0)),
        ({"frames": "5"}, 5, FrameCoords(0, 0, 4, 0)),
        ({"images": "6", "channels": "2"}, 6, FrameCoords(1, 2, 0, 0)),
        ({"images": "6", "channels": "2", "slices": "1"}, 6, FrameCoords(1, 0, 2, 0)),
        (
            {"images": "6", "channels": "2", "frames": "3", "order": "tzc"},
            6,
            FrameCoords(1, 0, 2, 0),
        ),
        ({}, 1, FrameCoords(0, 0, 0, 0)),
    ],
)
def test_what_imagej_leaves_out(lines: dict[str, str], pages: int, last: FrameCoords) -> None:
    order = imagej_order(imagej_values(lines), pages=pages)
    assert (order.count, order.coords(pages - 1)) == (pages, last)


def test_another_order_of_pages() -> None:
    told = imagej_values({"images": "6", "channels": "2", "frames": "3", "order": "tzc"})
    assert imagej_order(told, pages=6).coords(1) == FrameCoords(0, 0, 1, 0)


@pytest.mark.parametrize(
    "lines",
    [
        {"images": "4", "channels": "3"},
        {"images": "4", "channels": "2", "slices": "2", "frames": "2"},
        {"channels": "0"},
        {"images": "5"},
        {"channels": "many"},
    ],
)
def test_contradictions_are_refused(lines: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="its description"):
        imagej_order(imagej_values(lines), pages=4)


def test_colours_counted_as_channels_stay_colours(tmp_path: Path) -> None:
    path = tmp_path / "rgb.tif"
    description = "ImageJ=1.0\nimages=2\nchannels=3\nslices=2\n"
    tifffile.imwrite(
        path, pixels(2, 6, 5, 3, dtype="uint8"), photometric="rgb", description=description
    )
    assert [(f.coords.slice, f.shape) for f in frames_of(path)] == [(0, (6, 5, 3)), (1, (6, 5, 3))]


def test_a_contiguous_stack_with_one_page_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "virtual.tif"
    data = pixels(4, 6, 5)
    description = "ImageJ=1.53\nimages=4\nslices=4\n"
    tifffile.imwrite(path, data[:1], description=description, metadata=None, byteorder=">")
    with path.open("ab") as stream:
        stream.write(data[1:].astype(">u2").tobytes())
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    with SPEC.open(path, ReaderOptions()) as reader:
        read = [reader.read(frame) for frame in reader.frames()]
    np.testing.assert_array_equal(read, data)


def test_shaped_files_name_their_axes() -> None:
    frames = frames_of(DATA / "imagej_hyperstacks" / "zcyx_slice10.tiff")
    assert [frame.coords for frame in frames] == [FrameCoords(0, 0, 0, 0), FrameCoords(1, 0, 0, 0)]


@pytest.mark.parametrize(
    ("axes", "shape", "last"),
    [
        ("TZCYX", (2, 3, 4), FrameCoords(3, 2, 1, 0)),
        ("RTYX", (2, 3), FrameCoords(0, 0, 2, 1)),
        ("QYX", (5,), FrameCoords(0, 4, 0, 0)),
        ("QZYX", (5, 2), FrameCoords(0, 1, 4, 0)),
        (None, (5,), FrameCoords(0, 4, 0, 0)),
    ],
)
def test_axes_of_shaped_files(axes: str | None, shape: tuple[int, ...], last: FrameCoords) -> None:
    told: dict[str, Any] = {"shape": [*shape, 7, 9], **({"axes": axes} if axes else {})}
    pages = int(np.prod(shape))
    assert shaped_order(told, pages=pages, page=(7, 9)).coords(pages - 1) == last


def test_shapes_that_contradict_the_pages_are_refused() -> None:
    with pytest.raises(ValueError, match="promises the shape 4x7x9"):
        shaped_order({"shape": [4, 7, 9]}, pages=3, page=(7, 9))
    with pytest.raises(ValueError, match="more than channel, slice"):
        shaped_order({"shape": [2, 2, 7, 9], "axes": "CCYX"}, pages=4, page=(7, 9))


def test_a_plain_file_is_a_stack_of_slices(tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, pixels(3, 4, 5, dtype="int16"), metadata=None, photometric="minisblack")
    with SPEC.open(path, ReaderOptions()) as reader:
        assert [frame.coords.slice for frame in reader.frames()] == [0, 1, 2]
        assert reader.acquisition.dtype == "int16"
        assert reader.acquisition.nbr_expected is None


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint32", "int32", "float16", "float64", "complex64", "uint64"]
)
def test_every_pixel_type_is_passed_on_exactly(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "typed.tif"
    data = (np.arange(2 * 20).reshape(2, 4, 5) % 2).astype(dtype)
    tifffile.imwrite(path, data, metadata=None)
    with SPEC.open(path, ReaderOptions()) as reader:
        read = [reader.read(frame) for frame in reader.frames()]
    assert {frame.dtype.name for frame in read} == {dtype}
    np.testing.assert_array_equal(read, data)


@pytest.mark.parametrize("photometric", ["miniswhite", "palette"])
def test_stored_values_are_not_interpreted(tmp_path: Path, photometric: str) -> None:
    path = tmp_path / "stored.tif"
    data = pixels(4, 5, dtype="uint8")
    colours = {"colormap": np.zeros((3, 256), "uint16")} if photometric == "palette" else {}
    tifffile.imwrite(path, data, photometric=photometric, **colours)
    with SPEC.open(path, ReaderOptions()) as reader:
        np.testing.assert_array_equal(reader.read(next(reader.frames())), data)


def test_samples_that_are_called_time_stay_samples(tmp_path: Path) -> None:
    path = tmp_path / "input_yxt.tif"
    data = pixels(6, 5, 4, dtype="uint8")
    description = json.dumps({"shape": [6, 5, 4], "axes": "YXT"})
    tifffile.imwrite(path, data, photometric="rgb", description=description, metadata=None)
    with SPEC.open(path, ReaderOptions()) as reader:
        (frame,) = reader.frames()
        np.testing.assert_array_equal(reader.read(frame), data)
        assert any("axis T" in note for note in reader.acquisition.notes)


def test_pages_that_differ_are_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "sizes.tif"
    with tifffile.TiffWriter(path) as writer:
        for side in (8, 8, 6):
            writer.write(pixels(side, 8), metadata=None, contiguous=False)
    with pytest.raises(UnsupportedFormat, match="page 2: is 6x8 uint16, page 0 is 8x8 uint16"):
        SPEC.open(path, ReaderOptions())


def test_smaller_copies_are_left_out_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels(8, 8), metadata=None)
        writer.write(pixels(4, 4), metadata=None, subfiletype=1)
    with SPEC.open(path, ReaderOptions()) as reader:
        assert reader.acquisition.nbr_frames == 1
        assert reader.acquisition.notes == ("pyramid.tif: smaller copies in pages 1 left out",)


def test_fewer_images_than_promised_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.tif"
    description = "ImageJ=1.53\nimages=4\nslices=4\n"
    grey = {"photometric": "minisblack"}
    tifffile.imwrite(path, pixels(3, 4, 5), description=description, metadata=None, **grey)
    with pytest.raises(ReaderError, match="promises 4 images"):
        SPEC.open(path, ReaderOptions())


def test_truncation_is_never_silent(tmp_path: Path) -> None:
    whole = (DATA / "imagej_hyperstacks" / "zcyx.tiff").read_bytes()
    path = tmp_path / "cut.tiff"
    for part in range(1, 40):
        path.write_bytes(whole[: len(whole) * part // 40])
        with pytest.raises(ReaderError) as caught:
            SPEC.open(path, ReaderOptions())
        assert str(path) in str(caught.value)


def test_a_stack_of_the_parser_for_plates_tells_its_plate(tmp_path: Path) -> None:
    path = tmp_path / "plate1_3_CALM2_x.tif"
    tifffile.imwrite(path, pixels(2, 4, 5), metadata=None)
    with SPEC.open(path, ReaderOptions(filename_parser="parse_ml_name")) as reader:
        assert reader.acquisition.metadata["protein_name"] == "CALM2"
    with pytest.raises(UnsupportedFormat, match="parse_sms_name"):
        SPEC.open(path, ReaderOptions(filename_parser="parse_sms_name"))


def test_indices_in_the_name_are_noted_not_used(tmp_path: Path) -> None:
    path = tmp_path / "img_phase_t005_p000_z000.tif"
    tifffile.imwrite(path, pixels(2, 4, 5), metadata=None)
    with SPEC.open(path, ReaderOptions(filename_parser="parse_sms_name")) as reader:
        assert any("not used" in note for note in reader.acquisition.notes)
        assert {frame.coords.timepoint for frame in reader.frames()} == {0}


def test_an_ome_file_is_left_to_its_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    tifffile.imwrite(path, pixels(2, 4, 5), metadata={"axes": "CYX"})
    assert SPEC.sniff(path) is Match.NO
    with pytest.raises(UnsupportedFormat, match="use 'ome_tiff'"):
        SPEC.open(path, ReaderOptions())


def test_micro_managers_own_indices_must_agree(tmp_path: Path) -> None:
    """The pages of a Micro-Manager file are taken only where tag 51123 tells the same order."""
    for name, swapped in (("agrees.tif", False), ("contradicts.tif", True)):
        path = tmp_path / name
        with tifffile.TiffWriter(path) as writer:
            for page in range(4):
                c, z = divmod(page, 2)[::-1] if not swapped else divmod(page, 2)
                tag = json.dumps({"ChannelIndex": c, "SliceIndex": z, "FrameIndex": 0})
                writer.write(
                    pixels(4, 5, seed=page),
                    metadata=None,
                    contiguous=False,
                    description="ImageJ=1.47\nimages=4\nchannels=2\nslices=2\n"
                    if not page
                    else None,
                    extratags=[(51123, "s", 0, tag, True)],
                )
    assert len(frames_of(tmp_path / "agrees.tif")) == 4
    with pytest.raises(UnsupportedFormat, match="Micro-Manager says c0 z1 t0 p0"):
        SPEC.open(tmp_path / "contradicts.tif", ReaderOptions())


def test_sniffing_looks_inside(tmp_path: Path) -> None:
    hyperstack, plain, text, empty = (tmp_path / f"{n}.tif" for n in "abcd")
    imagej_stack(hyperstack)
    tifffile.imwrite(plain, pixels(4, 5), metadata=None)
    text.write_text("not an image")
    empty.touch()
    assert SPEC.sniff(hyperstack) is Match.YES
    assert SPEC.sniff(plain) is Match.MAYBE
    assert {SPEC.sniff(path) for path in (text, empty, tmp_path, tmp_path / "no.tif")} == {Match.NO}
    assert registry.find(hyperstack).name == "tif_id"
    assert registry.get("imagej") is registry.get("tif_id")


def test_damage_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "flipped.tiff"
    data = bytearray((DATA / "imagej_hyperstacks" / "zcyx.tiff").read_bytes())
    data[4:8] = b"\xff\xff\xff\xf0"  # where the first page begins
    path.write_bytes(data)
    with pytest.raises(CorruptSource, match=r"flipped\.tiff"):
        SPEC.open(path, ReaderOptions())


@pytest.mark.parametrize(
    ("told", "resolution", "unit", "size"),
    [
        ({"unit": "micron"}, 4.0, None, 0.25),
        ({"unit": "\u00b5m"}, 4.0, None, 0.25),
        ({"unit": "nm"}, 0.01, None, 0.1),
        ({"unit": "mm"}, 4000.0, None, 0.25),
        ({"unit": "um"}, 1.0, None, 1.0),
        ({"unit": "um", "shape": [1]}, 1.0, 2, None),
        ({"unit": "pixel"}, 1.0, 1, None),
        ({}, 1.0, 1, None),
        ({}, 72.0, 2, None),
        ({}, 300.0, 2, None),
        ({}, 22086824 / 10000, 2, 11.50007),
        ({}, 10000.0, 3, None),
        ({}, 40000.0, 3, 0.25),
        ({"unit": "inch"}, 72.0, 2, None),
        ({}, None, 2, None),
        ({"unit": "um"}, 0.0, None, None),
    ],
)
def test_pixel_sizes(
    told: dict[str, Any], resolution: float | None, unit: int | None, size: float | None
) -> None:
    found = calibration(told, resolution=(resolution, resolution), resolution_unit=unit)
    assert found.pixel_size_x_um == (None if size is None else pytest.approx(size))


@pytest.mark.parametrize(
    ("told", "step", "interval"),
    [
        ({"unit": "micron", "spacing": 0.5, "finterval": 10}, 0.5, 10.0),
        ({"unit": "nm", "spacing": 500.0, "finterval": 200, "tunit": "ms"}, 0.5, 0.2),
        ({"spacing": 0.5, "finterval": 0}, None, None),
        ({"unit": "um", "spacing": -1.0, "finterval": -1.2345678}, None, None),
    ],
)
def test_steps_in_space_and_time(
    told: dict[str, Any], step: float | None, interval: float | None
) -> None:
    found = calibration(told, resolution=(None, None), resolution_unit=None)
    assert (found.z_step_um, found.time_interval_s) == (step, interval)


def test_thumbnails_and_masks_are_left_out_wherever_they_stand(tmp_path: Path) -> None:
    path, image = tmp_path / "a.tif", pixels(32, 32, seed=1)
    with tifffile.TiffWriter(path) as out:
        out.write(image[::4, ::4].copy(), subfiletype=1, metadata=None)
        out.write(image, metadata=None)
        out.write(image > 5, subfiletype=4, metadata=None)
        out.write(image + 1, metadata=None)
    with SPEC.open(path, ReaderOptions()) as reader:
        first, second = reader.frames()
        np.testing.assert_array_equal(reader.read(first), image)
        np.testing.assert_array_equal(reader.read(second), image + 1)
        assert (first.coords, second.coords) == (FrameCoords(0, 0, 0, 0), FrameCoords(0, 1, 0, 0))
        assert reader.acquisition.notes == (
            "a.tif: smaller copies in pages 0 left out",
            "a.tif: masks in pages 2 left out",
        )
