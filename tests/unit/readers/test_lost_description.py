"""A file that has lost the description of its frames is refused, and taken as it is only by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.errors import CorruptSource, ReaderError
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.corpus import DATA
from tests.support.ometiff import ome, ome_image, planes, tiff_data, write_pages

NO_OME = "is named OME-TIFF but its OME-XML is missing or damaged; name 'tif_id'"


def place_of_tag(path: Path, code: int) -> int:
    """Where in the file the entry of a tag of the first page begins."""
    with tifffile.TiffFile(path) as file:
        return int(file.pages[0].tags[code].offset)  # type: ignore[union-attr]


def flipped(path: Path, offset: int) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    return path


def taken_by_name(path: Path) -> tuple[int, str]:
    """The frames that ``tif_id`` gives, and its notes."""
    with registry.get("tif_id").open(path, ReaderOptions()) as reader:
        return len(list(reader.frames())), " ".join(reader.acquisition.notes)


@pytest.fixture
def ome_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, planes(6).reshape(3, 2, 5, 6), metadata={"axes": "TCYX"})
    return path


def test_a_letter_of_the_root(ome_file: Path) -> None:
    flipped(ome_file, ome_file.read_bytes().find(b"<OME") + 1)
    with pytest.raises(CorruptSource, match=NO_OME):
        registry.find(ome_file)
    frames, notes = taken_by_name(ome_file)
    assert frames == 6
    assert "OME-XML is missing or damaged; its pages were taken as they are" in notes


def test_the_code_of_the_tag(ome_file: Path) -> None:
    with pytest.raises(CorruptSource, match=NO_OME):
        registry.find(flipped(ome_file, place_of_tag(ome_file, 270)))


def test_the_text_itself(ome_file: Path) -> None:
    data = ome_file.read_bytes()
    start, end = data.find(b"<?xml"), data.find(b"</OME>") + 6
    ome_file.write_bytes(data[:start] + bytes(end - start) + data[end:])
    with pytest.raises(CorruptSource, match=NO_OME):
        registry.find(ome_file)


def test_half_a_file_of_a_set(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "ome_multifile_master", tmp_path / "set")
    path = folder / "multifile-Z1.ome.tiff"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(ReaderError, match="multifile-Z1"):
        registry.find(path).open(path, ReaderOptions())


def test_damaged_xml_under_another_name(ome_file: Path) -> None:
    path = ome_file.rename(ome_file.with_name("a.tif"))
    flipped(path, path.read_bytes().find(b"<OME") + 1)
    with pytest.raises(CorruptSource, match="starts as XML and is damaged"):
        registry.find(path)


def test_whole_xml_of_another_program_is_no_damage(tmp_path: Path) -> None:
    text = '<MetaData><prop id="spatial-calibration-x" type="float" value="0.5"/></MetaData>'
    path = write_pages(tmp_path / "a.tif", list(planes(1)), text)
    assert registry.find(path).name == "tif_id"
    assert taken_by_name(path) == (1, "")


def test_a_long_comment_before_the_root(tmp_path: Path) -> None:
    text = ome(ome_image(tiff_data(0, count=3), c=3))
    text = text.replace("?><OME", f"?><!--{'x' * 20_000}--><OME")
    path = write_pages(tmp_path / "a.tif", list(planes(3)), text)
    spec = registry.find(path)
    assert spec.name == "ome_tiff"
    with spec.open(path, ReaderOptions()) as reader:
        assert [frame.coords.channel for frame in reader.frames()] == [0, 1, 2]


def test_imagej_shows_by_its_other_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    labels = {"axes": "ZYX", "Labels": ["a", "b", "c"]}
    tifffile.imwrite(
        path, pixels(6, 8, seed=0)[None].repeat(3, axis=0), imagej=True, metadata=labels
    )
    flipped(path, place_of_tag(path, 270))
    with pytest.raises(CorruptSource, match="tag 271 holds what tells the frames"):
        registry.find(path)
    assert taken_by_name(path)[0] == 3


def test_planes_behind_the_only_page(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    data = np.zeros((12, 20, 30), np.uint16)
    tifffile.imwrite(path, data, imagej=True, contiguous=True, truncate=True)
    assert taken_by_name(path) == (12, "")
    flipped(path, place_of_tag(path, 270))
    with pytest.raises(CorruptSource, match="tag 271 holds what tells the fr"):
        registry.find(path)
    assert taken_by_name(path)[0] == 1


def test_less_than_a_frame_behind_the_only_page(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", list(planes(1)))
    path.write_bytes(path.read_bytes() + bytes(59))
    assert registry.find(path).name == "tif_id"
    path.write_bytes(path.read_bytes() + bytes(1))
    with pytest.raises(CorruptSource, match="60 bytes after its one page"):
        registry.find(path)


def test_whole_files_are_taken(tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=3, z=2, c=2)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((5, 9, 9), np.uint8))
    for name in ("a.tif", "b.tif"):
        assert registry.find(tmp_path / name).name == "tif_id"
