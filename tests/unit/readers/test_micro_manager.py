"""``ome_tiff`` on Micro-Manager's file stacks: the sample of 1.4, and what 2.0 and accidents write."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import FrameCoords, sha256_of_pixels
from imaging_db.readers import registry
from imaging_db.readers.base import Match, ReaderOptions
from imaging_db.readers.ome_tiff import SPEC
from imaging_db.readers.tiff_reader import TiffPagesReader
from tests.support.corpus import DATA, truth
from tests.support.mmstack import (
    Coords,
    MMStack,
    beta_tag,
    binary_only,
    default_tag,
    image,
    images,
    summary_of,
    write_mm_stack,
)
from tests.support.ometiff import ome, ome_image, tiff_data

SAMPLE = Path(__file__).parents[3] / "sample" / "acquisition"
ROWS = {key[1]: rows for key, rows in truth(DATA, "TRUTH.csv").items() if key[0].startswith("mm14")}
FIRST = "1.4compatTest_3_MMStack_1-Pos_000_000.ome.tif"


def open_mm(path: Path, **options: Any) -> TiffPagesReader:
    reader = SPEC.open(path, ReaderOptions(**options))
    assert isinstance(reader, TiffPagesReader)
    return reader


def placed(path: Path, **options: Any) -> dict[FrameCoords, int]:
    """Return the first pixel of every frame by its place."""
    with open_mm(path, **options) as reader:
        return {frame.coords: int(reader.read(frame)[0, 0]) for frame in reader.frames()}


def expected(stack: Sequence[tuple[Coords, Any]]) -> dict[Coords, int]:
    return {coords: int(pixels[0, 0]) for coords, pixels in stack}


@pytest.fixture
def acquisition(tmp_path: Path) -> Path:
    """The sample acquisition of Micro-Manager 1.4: four positions, two of everything else."""
    folder = tmp_path / "acquisition"
    folder.mkdir()
    for packed in SAMPLE.glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


class TestSample:
    @staticmethod
    def check(reader: TiffPagesReader, rows: list[dict[str, str]]) -> None:
        frames = {(f.source.path.name, f.source.page): f for f in reader.frames()}
        assert len(frames) == len(rows)
        for row in rows:
            frame = frames[row["file"].removesuffix(".gz"), int(row["page"])]
            assert frame.coords == tuple(int(row[name]) for name in ("c", "z", "t", "pos"))
            assert (frame.channel_name, frame.position_name) == (row["cname"], row["posname"])
            assert sha256_of_pixels(reader.read(frame)) == row["sha256_pixels_le"]

    def test_the_folder_gives_every_page_once(self, acquisition: Path) -> None:
        with open_mm(acquisition) as reader:
            self.check(reader, [row for rows in ROWS.values() for row in rows])
            assert len(reader.sources) == 4

    @pytest.mark.parametrize("name", sorted(ROWS))
    def test_one_file_gives_its_own_pages_only(self, acquisition: Path, name: str) -> None:
        with open_mm(acquisition / name.removesuffix(".gz")) as reader:
            self.check(reader, ROWS[name])
            assert reader.acquisition.nbr_expected == 8

    @pytest.mark.parametrize("name", sorted(ROWS))
    def test_one_file_alone_gives_its_own_pages(
        self, acquisition: Path, tmp_path: Path, name: str
    ) -> None:
        alone = shutil.move(acquisition / name.removesuffix(".gz"), tmp_path)
        with open_mm(Path(alone)) as reader:
            self.check(reader, ROWS[name])

    def test_what_the_acquisition_says(self, acquisition: Path) -> None:
        with open_mm(acquisition) as reader:
            told = reader.acquisition
            frame = next(reader.frames())
        assert told.channel_names == ("Cy5", "DAPI")
        assert told.position_names == tuple(
            f"1-Pos_00{x}" for x in ("0_000", "1_000", "1_001", "0_001")
        )
        assert (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um) == (1, 1, 5)
        assert told.time_interval_s == 5
        assert (told.nbr_frames, told.nbr_expected, told.notes) == (32, 32, ())
        assert told.metadata["file_origin"] == str(acquisition)
        assert told.metadata["IJMetadata"]["Prefix"] == "1.4compatTest_3"
        assert frame.metadata["MicroManagerMetadata"]["Exposure-ms"] == 25

    def test_positions_of_a_grid_are_picked_by_their_place_in_the_list(
        self, acquisition: Path
    ) -> None:
        with open_mm(acquisition, positions=(3,)) as reader:
            assert reader.acquisition.position_names == ("1-Pos_000_001",)
            assert reader.acquisition.nbr_frames == reader.acquisition.nbr_expected == 8
            assert [path.name[-15:] for path in reader.sources] == ["000_001.ome.tif"]
        with pytest.raises(ReaderError, match="has no position 4") as refused:
            open_mm(acquisition, positions=(0, 4))
        assert "3 (1-Pos_000_001)" in refused.value.hint

    def test_a_missing_file_is_named(self, acquisition: Path) -> None:
        for path in sorted(acquisition.glob("*.ome.tif")):
            elsewhere = path.rename(acquisition.parent / path.name)
            with pytest.raises(CorruptSource, match=f"needs {path.name}"):
                open_mm(acquisition)
            elsewhere.rename(path)

    def test_picked_positions_need_only_their_files(self, acquisition: Path) -> None:
        (acquisition / FIRST).unlink()
        assert {place.position for place in placed(acquisition, positions=(2, 3))} == {2, 3}

    def test_swapped_files_are_told_apart_by_their_pages(self, acquisition: Path) -> None:
        good = placed(acquisition)
        one, other = sorted(acquisition.glob("*.ome.tif"))[1:3]
        one.rename(acquisition / "kept")
        other.rename(one)
        (acquisition / "kept").rename(other)
        assert placed(acquisition) == good

    def test_files_that_were_all_renamed(self, acquisition: Path) -> None:
        good = placed(acquisition)
        for number, path in enumerate(sorted(acquisition.glob("*.ome.tif"))):
            path.rename(acquisition / f"{number}.ome.tif")
        assert placed(acquisition) == good

    def test_a_copy_of_a_file_is_refused_by_the_names_of_both(self, acquisition: Path) -> None:
        shutil.copy(acquisition / FIRST, acquisition / "copy.ome.tif")
        with pytest.raises(CorruptSource, match="has the same coordinates"):
            open_mm(acquisition)

    def test_truncation_at_every_fortieth(self, acquisition: Path) -> None:
        path = acquisition / FIRST
        data = path.read_bytes()
        for part in range(1, 40):
            path.write_bytes(data[: len(data) * part // 40])
            with pytest.raises(ReaderError, match=r"000_000\.ome\.tif"):
                open_mm(path)

    def test_any_letter_of_a_page_s_coordinates_may_be_damaged(self, acquisition: Path) -> None:
        """Index of pages and OME-XML know better, or the page is refused; no frame ever moves."""
        path = acquisition / FIRST
        good, data = placed(path), path.read_bytes()
        for key in ("ChannelIndex", "SliceIndex", "FrameIndex", "PositionIndex"):
            start = data.index(f'"{key}":'.encode(), data.index(b"Objective-Name"))
            for at in range(start, start + len(key) + 4):
                for flip in (0x01, 0x90):
                    _overwrite(path, at, data[at] ^ flip)
                    try:
                        assert placed(path) == good, (key, at - start)
                    except CorruptSource as error:
                        assert error.page == 0
                _overwrite(path, at, data[at])

    def test_a_damaged_name_is_taken_from_the_other_pages(self, acquisition: Path) -> None:
        path = acquisition / FIRST
        data = path.read_bytes()
        start = data.index(b"Objective-Name")
        path.write_bytes(
            data[:start] + data[start:].replace(b'"Channel":"Cy5"', b'"Channel":"Cy4"', 1)
        )
        with open_mm(path) as reader:
            assert reader.acquisition.channel_names == ("Cy5", "DAPI")
            assert "unlike the others" in reader.acquisition.notes[0]

    def test_broken_ome_xml_is_only_noted(self, acquisition: Path) -> None:
        path = acquisition / FIRST
        path.write_bytes(path.read_bytes().replace(b"<Pixels ", b"<Pixel< "))
        with open_mm(acquisition) as reader:
            assert reader.acquisition.nbr_frames == 32
            assert "OME-XML was not used" in reader.acquisition.notes[0]


class TestVersion2:
    def test_pages_without_channel_names_and_with_positions_interleaved(
        self, tmp_path: Path
    ) -> None:
        pictures = images(2, 1, 3, 2)
        stack = MMStack(pictures, summary=summary_of(2, 1, 3, 2), tag_of=beta_tag)
        path = write_mm_stack(tmp_path / "run_MMStack.ome.tif", stack)
        assert placed(path) == expected(pictures)
        with open_mm(path) as reader:
            told = reader.acquisition
        assert told.channel_names == ("Ch0", "Ch1")
        assert told.position_names == ("Pos0", "Pos1")
        assert told.pixel_size_x_um is None  # 0 is not a size
        assert told.z_step_um == 2  # written as -2: the stage went down
        assert told.nbr_expected == 12

    def test_an_axis_that_was_not_there_counts_as_0(self, tmp_path: Path) -> None:
        def tag(coords: Coords) -> str:
            return json.dumps({"ChannelIndex": coords[0], "FrameIndex": -1})

        pictures = images(3, 1, 1, 1)
        stack = MMStack(pictures, tag_of=tag, index_of=lambda c: (c[0], -1, -1, -1))
        assert placed(write_mm_stack(tmp_path / "a.ome.tif", stack)) == expected(pictures)

    def test_values_of_property_maps(self, tmp_path: Path) -> None:
        def tag(coords: Coords) -> str:
            values = json.loads(default_tag(coords))
            typed = {
                key: {"PropType": "INTEGER", "PropVal": value} for key, value in values.items()
            }
            return json.dumps(typed)

        pictures = images(2, 2, 1, 1)
        path = write_mm_stack(tmp_path / "a.ome.tif", MMStack(pictures, tag_of=tag))
        assert placed(path) == expected(pictures)

    def test_a_position_in_several_files(self, tmp_path: Path) -> None:
        pictures = images(1, 1, 6, 1)
        names = ["run_MMStack_Pos0.ome.tif", "run_MMStack_Pos0_1.ome.tif"]
        pixels = "".join(
            tiff_data(n % 3, c=0, z=0, t=n, count=1, file=names[n // 3], uuid="u") for n in range(6)
        )
        text = ome(ome_image(pixels, x=12, y=8, t=6))
        summary = summary_of(1, 1, 6, 1)
        for number, name in enumerate(names):
            said = text if number == 0 else binary_only(names[0])
            part = MMStack(pictures[3 * number : 3 * number + 3], summary, said)
            write_mm_stack(tmp_path / name, part)
        assert placed(tmp_path) == expected(pictures)
        assert placed(tmp_path / names[1]) == expected(pictures[3:])
        (tmp_path / names[1]).unlink()
        with pytest.raises(CorruptSource, match="needs run_MMStack_Pos0_1"):
            open_mm(tmp_path)


class TestStoppedEarly:
    def test_fewer_frames_than_planned_are_accepted_with_a_note(self, tmp_path: Path) -> None:
        stack = MMStack(images(2, 1, 3, 1), summary=summary_of(2, 1, 100, 1))
        with open_mm(write_mm_stack(tmp_path / "a.ome.tif", stack)) as reader:
            told = reader.acquisition
        assert (told.nbr_frames, told.nbr_expected) == (6, 200)
        assert told.notes == ("the acquisition stopped early: 6 of 200 planned frames",)

    def test_positions_that_were_never_reached(self, tmp_path: Path) -> None:
        for position in range(2):
            stack = MMStack(
                images(1, 1, 2, 1, positions=[position]), summary=summary_of(1, 1, 2, 5)
            )
            write_mm_stack(tmp_path / f"run_MMStack_Pos{position}.ome.tif", stack)
        with open_mm(tmp_path) as reader:
            assert (reader.acquisition.nbr_frames, reader.acquisition.nbr_expected) == (4, 10)

    def test_blank_pages_are_placed_by_the_ome_xml(self, tmp_path: Path) -> None:
        pictures = images(2, 1, 2, 1)[:3]
        pixels = "".join(
            tiff_data(n, c=n % 2, z=0, t=n // 2, file="a.ome.tif", uuid="u") for n in range(4)
        )
        text = ome(ome_image(pixels, x=12, y=8, c=2, t=2))
        stack = MMStack(pictures, summary_of(2, 1, 9, 1), text, blank=1)
        path = write_mm_stack(tmp_path / "a.ome.tif", stack)
        assert placed(path) == {**expected(pictures), (1, 0, 1, 0): 0}
        with open_mm(path) as reader:
            assert any("1 pages have no readable tag" in note for note in reader.acquisition.notes)

    def test_a_file_that_was_never_closed_is_refused(self, tmp_path: Path) -> None:
        path = write_mm_stack(tmp_path / "a.ome.tif", MMStack(images(2, 1, 3, 1), closed=False))
        with pytest.raises(CorruptSource, match="page 6: should begin at byte"):
            open_mm(path)
        path.write_bytes(path.read_bytes() + bytes(100_000))  # the room that was reserved
        with pytest.raises(CorruptSource, match="page 6: its list of tags"):
            open_mm(path)


class TestDoubt:
    """A page's tag, the index of pages and the OME-XML: two of them outvote the third."""

    PICTURES = images(2, 2, 1, 1)

    def write(self, folder: Path, **changes: Any) -> Path:
        text = ome(
            ome_image(
                "".join(
                    tiff_data(n, c=c, z=z, t=t, file="a.ome.tif", uuid="u")
                    for n, ((c, z, t, _), _) in enumerate(self.PICTURES)
                ),
                x=12,
                y=8,
                c=2,
                z=2,
            )
        )
        options = {"description": text, **changes}
        return write_mm_stack(folder / "a.ome.tif", MMStack(self.PICTURES, **options))

    @pytest.mark.fault("M6")
    @pytest.mark.parametrize(
        "odd",
        ["", "NULL", "[1, 2]", '"text"', "{", '{"ChannelIndex": 1', "\x00\x00", "\xb5", None,
         '{"ChannelIndex": true, "SliceIndex": "one"}', "[" * 100_000, '{"ChannelIndex": 1e999}'],
    )  # fmt: skip
    @pytest.mark.parametrize("witness", ["index", "xml"])
    def test_an_unreadable_tag_is_replaced(
        self, tmp_path: Path, odd: str | None, witness: str
    ) -> None:
        changes = {"description": ""} if witness == "index" else {}
        path = self.write(tmp_path, tag_of=_odd_at((1, 0, 0, 0), odd), **changes)
        if witness == "xml":
            _forget_index(path)
        assert placed(path) == expected(self.PICTURES)

    @pytest.mark.fault("M6")
    def test_an_unreadable_tag_without_other_witness_is_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, tag_of=_odd_at((0, 1, 0, 0), "{"), description="")
        _forget_index(path)
        with pytest.raises(CorruptSource, match="page 2: its tag of Micro-Manager cannot be read"):
            open_mm(path)

    def test_a_lying_tag_is_outvoted(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, tag_of=_odd_at((1, 0, 0, 0), default_tag((7, 0, 0, 0))))
        assert placed(path) == expected(self.PICTURES)

    def test_a_lying_index_is_outvoted(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, index_of=lambda c: (9, 9, 9, 9) if c == (1, 0, 0, 0) else c)
        assert placed(path) == expected(self.PICTURES)

    def test_one_word_against_another_is_refused(self, tmp_path: Path) -> None:
        tag = _odd_at((1, 0, 0, 0), default_tag((7, 0, 0, 0)))
        path = self.write(tmp_path, tag_of=tag, description="")
        with pytest.raises(CorruptSource, match="page 1: its tag and the file's index"):
            open_mm(path)

    def test_an_index_of_another_convention_is_noted(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, index_of=lambda c: (c[0], c[2], c[1], c[3] + 1), description="")
        with open_mm(path) as reader:
            assert reader.acquisition.nbr_slices == 2
            assert "was not believed" in reader.acquisition.notes[0]

    @pytest.mark.fault("I-4")
    def test_pages_that_all_claim_one_place_are_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, tag_of=lambda _: default_tag((0, 0, 0, 0)), description="")
        _forget_index(path)
        with pytest.raises(CorruptSource, match=r"page 1: has the same coordinates .* page 0"):
            open_mm(path)

    def test_an_index_of_more_images_than_pages_is_refused(self, tmp_path: Path) -> None:
        path = self.write(tmp_path)
        data = bytearray(path.read_bytes())
        at = data.index((3453623).to_bytes(4, "little"))
        data[at + 4] += 1
        data[at + 8 + 4 * 20 : at + 8 + 5 * 20] = bytes(16) + b"\1\0\0\0"
        path.write_bytes(data)
        with pytest.raises(CorruptSource, match="lists 5 images, it has 4 pages"):
            open_mm(path)

    def test_pages_of_two_sizes_are_refused(self, tmp_path: Path) -> None:
        odd = [((0, 0, 0, 0), image((0, 0, 0, 0))), ((1, 0, 0, 0), np.zeros((3, 4), np.uint16))]
        path = write_mm_stack(tmp_path / "a.ome.tif", MMStack(odd))
        with pytest.raises(CorruptSource, match=r"page 1: is \(3, 4\)"):
            open_mm(path)


class TestFolders:
    def write(self, folder: Path, labels: Sequence[str], **summary: Any) -> None:
        for position, label in enumerate(labels):
            stack = MMStack(
                images(1, 1, 1, 1, positions=[position]),
                summary=summary_of(1, 1, 1, len(labels), **summary),
                tag_of=lambda c, label=label: json.dumps(
                    {**json.loads(default_tag(c)), "PositionName": label}
                ),
            )
            write_mm_stack(folder / f"run_MMStack_{label}.ome.tif", stack)

    def test_labels_with_numbers_are_picked_by_them(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["Pos12", "Pos1", "Pos010"])
        assert {place.position for place in placed(tmp_path, positions=(1,))} == {1}
        assert {place.position for place in placed(tmp_path, positions=(12, 10))} == {0, 2}

    def test_free_labels_are_picked_by_their_index(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["2-Pos000_000", "2-Pos001_000", "control"])
        assert {place.position for place in placed(tmp_path, positions=(2,))} == {2}

    def test_labels_of_one_number_are_picked_by_their_index(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["A1", "B1"])
        assert {place.position for place in placed(tmp_path, positions=(0,))} == {0}

    def test_two_acquisitions_are_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["Pos0"], UUID="one")
        self.write(tmp_path, ["Pos1", "Pos2"], UUID="two")
        (tmp_path / "run_MMStack_Pos1.ome.tif").unlink()
        with pytest.raises(
            UnsupportedFormat, match="several acquisitions: that of run_MMStack_Pos"
        ):
            open_mm(tmp_path)

    def test_hundreds_of_files_need_no_handle_each(self, tmp_path: Path) -> None:
        self.write(tmp_path, [f"Pos{n}" for n in range(100)])
        before = _handles()
        with open_mm(tmp_path) as reader:
            assert reader.acquisition.nbr_positions == 100
            assert _handles() - before <= 1
            assert len({int(reader.read(frame)[0, 0]) for frame in reader.frames()}) == 100


def test_ndtiff_is_left_to_its_own_reader() -> None:
    path = next((DATA / "ndtiff_v3_12bit_mda").glob("*.tif"))
    assert SPEC.sniff(path) is Match.NO
    with pytest.raises(UnsupportedFormat, match="NDTiff") as refused:
        open_mm(path)
    assert "ndtiff" in refused.value.hint


def _odd_at(place: Coords, odd: str | None) -> Callable[[Coords], str | None]:
    return lambda coords: odd if coords == place else default_tag(coords)


def _forget_index(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[8:12] = bytes(4)
    path.write_bytes(data)


def _overwrite(path: Path, at: int, byte: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(bytes([byte]))


def _handles() -> int:
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.is_dir() else 0


@pytest.mark.parametrize("lost", [{(0, 0, 0, 0)}, {place for place, _ in images(2, 2, 2, 2)}])
def test_pages_without_tag_are_placed_by_the_index(tmp_path: Path, lost: set[Coords]) -> None:
    path = write_mm_stack(
        tmp_path / "m_MMStack.ome.tif",
        MMStack(
            images(2, 2, 2, 2),
            summary_of(2, 2, 2, 2),
            tag_of=lambda place: None if place in lost else default_tag(place),
        ),
    )
    assert registry.find(path) is SPEC
    assert placed(path) == {
        FrameCoords(*place): int(data[0, 0]) for place, data in images(2, 2, 2, 2)
    }
    with pytest.raises(UnsupportedFormat, match="page 0: is Micro-Manager's, and does not tell"):
        registry.get("tif_id").open(path, ReaderOptions())


def test_a_folder_of_stacks_with_plain_names(tmp_path: Path) -> None:
    write_mm_stack(tmp_path / "a.tif", MMStack(images(2, 1, 2, 2), summary_of(2, 1, 2, 2)))
    assert len(placed(tmp_path)) == 8
