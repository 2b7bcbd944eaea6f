"""``ome_tiff`` on single OME-TIFF files: every plane in its place, or a refusal that says why."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import FrameCoords, sha256_of_pixels
from imaging_db.readers.base import Match, ReaderOptions, ReadLimits
from imaging_db.readers.ome_tiff import SPEC
from imaging_db.readers.tiff_reader import TiffPagesReader
from tests.support.corpus import DATA, truth
from tests.support.ometiff import ome, ome_image, planes, tiff_data, write_pages

TRUTH = truth(DATA, "TRUTH.csv")


def open_ome(path: Path, **options: Any) -> TiffPagesReader:
    reader = SPEC.open(path, ReaderOptions(**options))
    assert isinstance(reader, TiffPagesReader)
    return reader


def places(path: Path, **options: Any) -> list[tuple[int, ...]]:
    """Return (page, channel, slice, timepoint, position) of every frame."""
    with open_ome(path, **options) as reader:
        return [(frame.source.page, *frame.coords) for frame in reader.frames()]


def check_against_truth(source: Path, rows: list[dict[str, str]]) -> None:
    with open_ome(source) as reader:
        frames = {(f.source.path.name, f.source.page): f for f in reader.frames()}
        assert len(frames) == len(rows)
        for row in rows:
            frame = frames[row["file"].removesuffix(".gz"), int(row["page"])]
            expected = FrameCoords(*(int(row[name]) for name in ("c", "z", "t", "pos")))
            assert frame.coords == expected
            assert frame.channel_name == (row["cname"] or None)
            assert frame.position_name == row["posname"]
            assert sha256_of_pixels(reader.read(frame)) == row["sha256_pixels_le"]


@pytest.mark.parametrize("name", ["single-channel.ome.tif", "multi-channel.ome.tif"])
def test_the_reference_files_of_ome(name: str) -> None:
    check_against_truth(DATA / "ome_artificial" / name, TRUTH["ome_artificial", name])


def test_every_reference_file_of_the_large_corpus(shared_data: Path | None) -> None:
    folder = shared_data or DATA
    for (dataset, name), rows in truth(folder, "TRUTH.csv").items():
        if dataset == "ome_artificial":
            check_against_truth(folder / dataset / name, rows)


class TestPlaces:
    def test_planes_in_an_order_of_their_own(self, tmp_path: Path) -> None:
        pixels = "".join(
            tiff_data(ifd, c=c, z=z, count=1)
            for ifd, (c, z) in enumerate([(1, 1), (0, 0), (1, 0), (0, 1)])
        )
        path = write_pages(tmp_path / "a.ome.tif", planes(4), ome(ome_image(pixels, c=2, z=2)))
        assert places(path) == [(0, 1, 1, 0, 0), (1, 0, 0, 0, 0), (2, 1, 0, 0, 0), (3, 0, 1, 0, 0)]

    @pytest.mark.parametrize(
        "pixels",
        [
            "",
            "<TiffData/>",
            tiff_data(count=6),
            tiff_data(0, count=6),
            tiff_data(0, count=6, count_name="NumPlanes"),
        ],
    )
    def test_one_run_of_all_planes(self, tmp_path: Path, pixels: str) -> None:
        text = ome(ome_image(pixels, c=2, t=3, order="XYCTZ"))
        path = write_pages(tmp_path / "a.ome.tif", planes(6), text)
        assert places(path) == [(n, n % 2, 0, n // 2, 0) for n in range(6)]

    def test_several_images_are_positions(self, tmp_path: Path) -> None:
        images = [
            ome_image(tiff_data(2 * n, count=2), z=2, name=f"well {n}", kind="uint16")
            for n in range(3)
        ]
        path = write_pages(tmp_path / "a.ome.tif", planes(6), ome(*images))
        assert places(path) == [(n, 0, n % 2, 0, n // 2) for n in range(6)]
        with open_ome(path) as reader:
            assert reader.acquisition.position_names == ("well 0", "well 1", "well 2")
            assert reader.acquisition.nbr_expected == 6

    def test_first_indices_that_begin_at_one(self, tmp_path: Path) -> None:
        pixels = "".join(tiff_data(n, z=n + 1, c=0, t=0) for n in range(3))
        path = write_pages(tmp_path / "a.ome.tif", planes(3), ome(ome_image(pixels, z=3)))
        assert places(path) == [(n, 0, n, 0, 0) for n in range(3)]

    def test_colours_are_samples_of_one_frame(self, tmp_path: Path) -> None:
        pages = planes(2, shape=(5, 6, 3), dtype="uint8")
        channels = '<Channel Name="H&amp;E" SamplesPerPixel="3"/>'
        text = ome(ome_image(tiff_data(), c=3, z=2, kind="uint8", channels=channels))
        path = write_pages(tmp_path / "a.ome.tif", pages, text, photometric="rgb")
        with open_ome(path) as reader:
            told = reader.acquisition
            assert (told.nbr_channels, told.colors, told.channel_names) == (1, 3, ("H&E",))
            for frame, page in zip(reader.frames(), pages, strict=True):
                np.testing.assert_array_equal(reader.read(frame), page)

    @pytest.mark.fault("I-9")
    def test_only_full_resolution_of_pyramids(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.tif"
        text = ome(ome_image(tiff_data(0, count=2), x=64, y=64, c=2)).encode()
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            for number, plane in enumerate(planes(2, shape=(64, 64))):
                said = text if number == 0 else None
                options: dict[str, Any] = {"metadata": None, "tile": (32, 32)}
                file.write(plane, description=said, subifds=1, contiguous=False, **options)
                file.write(plane[::2, ::2], subfiletype=1, **options)
        assert places(path) == [(0, 0, 0, 0, 0), (1, 1, 0, 0, 0)]

    def test_reduced_pages_in_the_chain_are_left_out_with_a_note(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.tif"
        text = ome(ome_image(tiff_data(0), x=64, y=64)).encode()
        with tifffile.TiffWriter(path) as file:
            file.write(planes(1, shape=(64, 64))[0], description=text, metadata=None)
            file.write(planes(1, shape=(32, 32))[0], subfiletype=1, metadata=None)
        with open_ome(path) as reader:
            assert reader.acquisition.nbr_frames == 1
            assert reader.acquisition.notes == ("a.ome.tif: reduced pages left out: 1",)

    def test_what_tifffile_writes(self, tmp_path: Path) -> None:
        stack = planes(12, shape=(16, 20)).reshape(2, 3, 2, 16, 20)
        path = tmp_path / "a.ome.tif"
        said = {"axes": "TCZYX", "PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}
        names = ["DAPI", "GFP", "Cy5"]
        tifffile.imwrite(
            path, stack, metadata={**said, "Channel": {"Name": names}}, compression="zlib"
        )
        with open_ome(path) as reader:
            told = reader.acquisition
            assert (told.nbr_timepoints, told.nbr_channels, told.nbr_slices) == (2, 3, 2)
            assert told.channel_names == tuple(names)
            assert told.pixel_size_x_um == 0.25
            for frame in reader.frames():
                c, z, t, _ = frame.coords
                np.testing.assert_array_equal(reader.read(frame), stack[t, c, z])


class TestMetadata:
    def test_of_the_acquisition_and_its_planes(self, tmp_path: Path) -> None:
        plane = '<Plane TheC="0" TheZ="0" TheT="0" ExposureTime="12"/>'
        more = 'PhysicalSizeX="0.1" PhysicalSizeY="0.2" PhysicalSizeZ="3" TimeIncrement="9"'
        text = ome(ome_image(tiff_data(0) + plane, more=more, name="\u00b5-Dish"))
        path = write_pages(tmp_path / "a.ome.tif", planes(1), text)
        with open_ome(path) as reader:
            told, (frame,) = reader.acquisition, reader.frames()
        assert (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um) == (0.1, 0.2, 3)
        assert told.time_interval_s == 9
        assert told.metadata["file_origin"] == str(path)
        assert told.metadata["OME-XML"] == text
        assert told.metadata["OME"]["Image"][0]["Name"] == "\u00b5-Dish"
        assert frame.metadata == {
            "Plane": {"TheC": "0", "TheZ": "0", "TheT": "0", "ExposureTime": "12"}
        }
        assert frame.position_name == "\u00b5-Dish"

    def test_unknown_sizes_stay_unknown(self) -> None:
        with open_ome(DATA / "ome_artificial" / "single-channel.ome.tif") as reader:
            told = reader.acquisition
        assert told.pixel_size_x_um is told.z_step_um is told.time_interval_s is None

    def test_another_sign_than_the_metadata_say_is_noted(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0), kind="int16"))
        path = write_pages(tmp_path / "a.ome.tif", planes(1), text)
        with open_ome(path) as reader:
            assert reader.acquisition.notes == ("pixels are uint16, the metadata say int16",)
            assert next(reader.frames()).dtype == "uint16"


class TestPositions:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        names = ("Pos1", "Pos10", "Pos2")
        images = [ome_image(tiff_data(n), name=name) for n, name in enumerate(names)]
        return write_pages(tmp_path / "a.ome.tif", planes(3), ome(*images))

    def test_are_picked_by_their_number_never_by_a_part_of_it(self, path: Path) -> None:
        assert places(path, positions=(1,)) == [(0, 0, 0, 0, 0)]
        assert places(path, positions=(10, 2)) == [(1, 0, 0, 0, 1), (2, 0, 0, 0, 2)]

    def test_that_do_not_exist_are_refused_with_those_that_do(self, path: Path) -> None:
        with pytest.raises(ReaderError, match="has no position 0") as refused:
            open_ome(path, positions=(1, 0))
        assert refused.value.hint == "its positions are 1 (Pos1), 2 (Pos2), 10 (Pos10)"


class TestRefusals:
    @pytest.mark.fault("I-10")
    def test_more_planes_promised_than_pages_there_are(self, tmp_path: Path) -> None:
        images = [ome_image(tiff_data(n), name=f"well {n}") for n in range(11)]
        path = write_pages(tmp_path / "a.ome.tif", planes(1), ome(*images))
        with pytest.raises(CorruptSource, match="promise 11 images, the file has 1"):
            open_ome(path)

    def test_fewer_planes_placed_than_promised(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0, count=2), z=2), ome_image(tiff_data(2), z=2))
        path = write_pages(tmp_path / "a.ome.tif", planes(4), text)
        with pytest.raises(CorruptSource, match="promise 2 planes and place 1 of them"):
            open_ome(path)

    def test_a_page_that_no_plane_is_in(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0, count=2), z=2))
        path = write_pages(tmp_path / "a.ome.tif", planes(3), text)
        with pytest.raises(CorruptSource, match="page 2: belongs to no plane"):
            open_ome(path)

    def test_a_page_that_two_planes_are_in(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0, z=0) + tiff_data(0, z=1), z=2))
        path = write_pages(tmp_path / "a.ome.tif", planes(2), text)
        with pytest.raises(
            CorruptSource, match="page 0: is claimed by c0 z0 t0 p0 and c0 z1 t0 p0"
        ):
            open_ome(path)

    def test_two_pages_of_one_plane(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0, z=1) + tiff_data(1, z=1), z=2))
        path = write_pages(tmp_path / "a.ome.tif", planes(2), text)
        with pytest.raises(CorruptSource, match="page 1: has the same coordinates"):
            open_ome(path)

    def test_an_image_of_another_size(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0), x=3552, y=4430))
        path = write_pages(tmp_path / "a.ome.tif", planes(1), text)
        with pytest.raises(
            CorruptSource, match=r"is 6 x 5 pixels, its metadata describe .* 3552 x 4430"
        ):
            open_ome(path)

    def test_metadata_that_were_taken_from_another_file(self, shared_data: Path | None) -> None:
        if shared_data is None:
            return  # the same cause is tested above
        path = shared_data / "bigtiff_pyramid_tiled_ometiff" / "rename_test.ome.tiff"
        with pytest.raises(CorruptSource, match="promise 19 images, the file has 2"):
            open_ome(path)

    def test_types_that_differ_within_an_image(self, tmp_path: Path) -> None:
        pages = [planes(1)[0], planes(1, dtype="int16")[0]]
        text = ome(ome_image(tiff_data(), z=2))
        path = write_pages(tmp_path / "a.ome.tif", pages, text)
        with pytest.raises(CorruptSource, match="page 1: its pixels are int16"):
            open_ome(path)

    def test_neither_ome_nor_micro_manager(self, tmp_path: Path) -> None:
        path = write_pages(tmp_path / "a.tif", planes(1), "no metadata")
        with pytest.raises(UnsupportedFormat, match="neither OME-XML nor Micro-Manager") as refused:
            open_ome(path)
        assert "tif_folder" in refused.value.hint
        assert SPEC.sniff(path) is Match.NO

    def test_other_formats_by_their_names(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ome.tif"
        path.write_bytes(b"\xda\xce\xbe\x0a" + bytes(100))
        with pytest.raises(UnsupportedFormat, match=r"unsupported format ND2 \(Nikon\)"):
            open_ome(path)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedFormat, match=r"holds no \*\.ome\.tif"):
            open_ome(tmp_path)

    def test_metadata_above_the_limit(self, tmp_path: Path) -> None:
        text = ome(ome_image(tiff_data(0), name="x" * 5_000))
        path = write_pages(tmp_path / "a.ome.tif", planes(1), text)
        with pytest.raises(CorruptSource, match="above the limit"):
            open_ome(path, limits=ReadLimits(max_metadata_bytes=4_000))


class TestDamage:
    """What happens to a file on its way: never other frames, and never fewer."""

    @pytest.fixture(
        params=[
            "ome_artificial/single-channel.ome.tif",
            "ome_multifile_master/multifile-Z1.ome.tiff",
        ]
    )
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        original = DATA / request.param
        shutil.copytree(original.parent, tmp_path / "set")
        return tmp_path / "set" / original.name

    def test_truncation_at_every_fortieth(self, path: Path) -> None:
        data = path.read_bytes()
        for part in range(1, 40):
            path.write_bytes(data[: len(data) * part // 40])
            with pytest.raises(ReaderError, match=path.name.split(".")[0]):
                open_ome(path)

    def test_a_changed_byte_in_the_list_of_tags(self, path: Path) -> None:
        """Every byte of the first page's list: refused, or the very same pixels and places."""
        with tifffile.TiffFile(path) as file:
            start, count = file.pages[0].offset, len(file.pages[0].tags)
        good = _digest(path)
        data = path.read_bytes()
        sign = _value_of_tag(path, "SampleFormat")
        for at in range(start, start + 2 + 12 * count + 4):
            if at in sign:
                continue  # signed or unsigned: only a note can tell
            damaged = bytearray(data)
            damaged[at] ^= 0xFF
            path.write_bytes(damaged)
            assert _digest(path) in (good, None), f"byte {at - start}"

    def test_a_changed_byte_in_the_first_offset(self, path: Path) -> None:
        data = path.read_bytes()
        for at in range(4, 8):
            for bit in range(8):
                damaged = bytearray(data)
                damaged[at] ^= 1 << bit
                path.write_bytes(damaged)
                assert _digest(path) is None, (at, bit)

    def test_a_changed_byte_in_the_metadata(self, path: Path) -> None:
        """Refused, or every pixel and place as before: a letter of a name is all that may differ."""
        good = _digest(path)
        data = path.read_bytes()
        start = data.index(b"<OME")
        for at in range(start, data.index(b"</OME>"), 7):
            damaged = bytearray(data)
            damaged[at] ^= 0x01
            path.write_bytes(damaged)
            assert _digest(path) in (good, None), bytes(damaged[at - 20 : at + 20])

    def test_garbage_at_the_end(self, path: Path) -> None:
        good = _digest(path)
        path.write_bytes(path.read_bytes() + bytes(range(256)) * 20)
        assert _digest(path) == good


def _value_of_tag(path: Path, name: str) -> range:
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags.get(name)
        return range(0) if tag is None else range(tag.offset, tag.offset + 12)


def _digest(path: Path) -> list[tuple[Any, ...]] | None:
    """Return places and pixel hashes, None where the file is refused."""
    try:
        with open_ome(path) as reader:
            return [(f.coords, f.dtype, sha256_of_pixels(reader.read(f))) for f in reader.frames()]
    except ReaderError:
        return None


def test_an_image_of_reduced_pages_is_a_smaller_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    data = planes(2, shape=(128, 128))
    with tifffile.TiffWriter(path) as out:
        out.write(data, tile=(64, 64), metadata={"axes": "CYX"})
        out.write(data[:, ::2, ::2], subfiletype=1, tile=(64, 64), metadata=None)
    assert places(path) == [(0, 0, 0, 0, 0), (1, 1, 0, 0, 0)]
    with open_ome(path) as reader:
        assert reader.acquisition.notes == ("a.ome.tif: reduced pages left out: 2",)
