"""OME-TIFF sets of several files: all planes through any of them, or the missing file by its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import sha256_of_pixels
from imaging_db.readers.base import Match, ReaderOptions
from imaging_db.readers.ome_tiff import SPEC
from tests.support.corpus import DATA, truth
from tests.support.ometiff import ome, ome_image, planes, tiff_data, write_pages

TRUTH = truth(DATA, "TRUTH.csv")
MASTER, COMPANION = "ome_multifile_master", "ome_multifile_companion"
EXPECTED = {
    dataset: {(int(r["z"]), r["sha256_pixels_le"]) for key in TRUTH for r in TRUTH[key] if key[0] == dataset}
    for dataset in (MASTER, COMPANION)
}  # fmt: skip


def slices(source: Path) -> set[tuple[int, str]]:
    """Return slice and pixel hash of every frame of a source that has nothing but slices."""
    with SPEC.open(source, ReaderOptions()) as reader:
        frames = list(reader.frames())
        assert {(f.coords.channel, f.coords.timepoint, f.coords.position) for f in frames} == {
            (0, 0, 0)
        }
        return {(f.coords.slice, sha256_of_pixels(reader.read(f))) for f in frames}


def named(source: Path) -> list[str]:
    with SPEC.open(source, ReaderOptions()) as reader:
        return [path.name for path in reader.sources]


@pytest.fixture(params=[MASTER, COMPANION])
def dataset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(dataset: str, tmp_path: Path) -> Path:
    target = tmp_path / "set"
    target.mkdir()
    for path in (DATA / dataset).glob("*.ome*"):
        shutil.copy(path, target)
    return target


def test_any_file_gives_the_whole_set(folder: Path, dataset: str) -> None:
    for source in (folder, *sorted(folder.iterdir())):
        assert SPEC.sniff(source) is Match.EXACT
        assert slices(source) == EXPECTED[dataset], source.name


def test_the_companion_is_one_of_the_sources(tmp_path: Path) -> None:
    names = named(DATA / COMPANION)
    assert names == [*(f"multifile-Z{n}.ome.tiff" for n in range(1, 6)), "multifile.companion.ome"]


@pytest.mark.fault("I-7")
def test_each_missing_file_is_named(folder: Path) -> None:
    for missing in sorted(folder.iterdir()):
        elsewhere = missing.rename(folder.parent / missing.name)
        for source in (folder, *sorted(folder.iterdir())):
            with pytest.raises(CorruptSource, match=missing.name.replace(".", r"\.")):
                SPEC.open(source, ReaderOptions())
        elsewhere.rename(missing)


def test_each_truncated_file_is_named(folder: Path) -> None:
    for damaged in sorted(folder.glob("*.tiff")):
        data = damaged.read_bytes()
        damaged.write_bytes(data[: len(data) // 2])
        with pytest.raises(ReaderError, match=damaged.name):
            SPEC.open(folder, ReaderOptions())
        damaged.write_bytes(data)


def test_two_swapped_files_are_told_apart(folder: Path, dataset: str) -> None:
    one, other = folder / "multifile-Z2.ome.tiff", folder / "multifile-Z4.ome.tiff"
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)
    assert slices(folder) == EXPECTED[dataset]
    assert slices(one) == EXPECTED[dataset]


def test_a_file_that_stands_in_for_another_is_refused(folder: Path) -> None:
    shutil.copy(folder / "multifile-Z4.ome.tiff", folder / "multifile-Z2.ome.tiff")
    with pytest.raises(CorruptSource, match=r"multifile-Z2\.ome\.tiff is another file"):
        SPEC.open(folder, ReaderOptions())


@pytest.mark.fault("I-7")
def test_renamed_files_are_found_by_their_uuid(folder: Path, dataset: str) -> None:
    for number, path in enumerate(sorted(folder.glob("*.tiff"))):
        path.rename(folder / f"renamed {9 - number}.ome.tiff")
    assert slices(folder) == EXPECTED[dataset]


def test_names_are_never_followed_out_of_the_folder(tmp_path: Path) -> None:
    outside = write_pages(tmp_path / "b.ome.tif", planes(1))
    inside = tmp_path / "inside"
    inside.mkdir()
    pixels = tiff_data(0, z=0, file="a.ome.tif") + tiff_data(0, z=1, file=str(outside))
    write_pages(inside / "a.ome.tif", planes(1), ome(ome_image(pixels, z=2)))
    with pytest.raises(CorruptSource, match=r"b\.ome\.tif.*not beside it"):
        SPEC.open(inside, ReaderOptions())
    pixels = tiff_data(0, z=0, file="a.ome.tif") + tiff_data(0, z=1, file="..\\b.ome.tif")
    write_pages(inside / "a.ome.tif", planes(1), ome(ome_image(pixels, z=2)))
    with pytest.raises(CorruptSource, match=r"b\.ome\.tif.*not beside it"):
        SPEC.open(inside, ReaderOptions())


def test_a_single_renamed_file_is_itself(tmp_path: Path) -> None:
    pixels = tiff_data(0, count=3, file="old name.ome.tif", uuid="urn:uuid:a")
    text = ome(ome_image(pixels, z=3), uuid="b")
    path = write_pages(tmp_path / "new name.ome.tif", planes(3), text)
    write_pages(tmp_path / "old name.ome.tif", planes(3)[::-1], text)
    assert named(path) == ["new name.ome.tif"]
    assert len(slices(path)) == 3


def test_a_renamed_master_is_recognised(tmp_path: Path) -> None:
    pixels = tiff_data(0, z=0, file="a.ome.tif") + tiff_data(0, z=1, file="b.ome.tif")
    path = write_pages(tmp_path / "renamed.ome.tif", planes(1), ome(ome_image(pixels, z=2)))
    write_pages(tmp_path / "b.ome.tif", planes(2)[1:])
    assert named(path) == ["renamed.ome.tif", "b.ome.tif"]


def test_files_that_each_hold_the_whole_document(tmp_path: Path) -> None:
    pixels = "".join(
        tiff_data(0, c=c, t=t, file=f"set_C{c}_T{t}.ome.tif", uuid=f"{c}{t}")
        for c in range(2)
        for t in range(3)
    )
    image = ome_image(pixels, c=2, t=3)
    for c in range(2):
        for t in range(3):
            page = np.full((5, 6), 10 * c + t, np.uint16)
            path = tmp_path / f"set_C{c}_T{t}.ome.tif"
            write_pages(path, [page], ome(image, uuid=f"{c}{t}"))
    for source in (tmp_path, tmp_path / "set_C1_T0.ome.tif"):
        with SPEC.open(source, ReaderOptions()) as reader:
            found = {f.coords: int(reader.read(f)[0, 0]) for f in reader.frames()}
        assert found == {(c, 0, t, 0): 10 * c + t for c in range(2) for t in range(3)}


def test_one_uuid_for_all_files_is_none_for_any(tmp_path: Path) -> None:
    names = [f"z{n}.ome.tif" for n in range(3)]
    pixels = "".join(tiff_data(0, z=z, file=name, uuid="same") for z, name in enumerate(names))
    for z, name in enumerate(names):
        page = np.full((5, 6), z, np.uint16)
        write_pages(tmp_path / name, [page], ome(ome_image(pixels, z=3), uuid="same"))
    for source in (tmp_path, tmp_path / "z1.ome.tif"):
        with SPEC.open(source, ReaderOptions()) as reader:
            assert [int(reader.read(f)[0, 0]) for f in reader.frames()] == [0, 1, 2]


def test_uuids_that_none_of_the_files_has_leave_the_names(tmp_path: Path) -> None:
    pixels = tiff_data(0, z=0, file="a.ome.tif", uuid="1") + tiff_data(
        0, z=1, file="b.ome.tif", uuid="2"
    )
    for name, uuid in (("a.ome.tif", "8"), ("b.ome.tif", "9")):
        write_pages(tmp_path / name, planes(1), ome(ome_image(pixels, z=2), uuid=uuid))
    with SPEC.open(tmp_path, ReaderOptions()) as reader:
        assert reader.acquisition.nbr_slices == 2
        assert "taken by name" in reader.acquisition.notes[0]


@pytest.mark.fault("I-7")
def test_two_sets_in_one_folder_are_refused(folder: Path) -> None:
    text = ome(ome_image(tiff_data(0)))
    write_pages(folder / "other.ome.tif", planes(1), text)
    with pytest.raises(
        UnsupportedFormat, match=r"several sets: that of .* and that of other\.ome\.tif"
    ):
        SPEC.open(folder, ReaderOptions())
    assert named(folder / "other.ome.tif") == ["other.ome.tif"]


def test_unrelated_single_files_are_several_sets(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pages(tmp_path / f"{name}.ome.tif", planes(1), ome(ome_image(tiff_data(0))))
    with pytest.raises(UnsupportedFormat, match=r"a\.ome\.tif and that of b\.ome\.tif"):
        SPEC.open(tmp_path, ReaderOptions())


def test_hidden_files_and_exports_beside_are_left_alone(folder: Path, dataset: str) -> None:
    (folder / "._multifile-Z1.ome.tiff").write_bytes(b"resource fork")
    (folder / "export.ome.xml").write_text(ome(ome_image("<MetadataOnly/>")))
    assert slices(folder) == EXPECTED[dataset]


def test_names_that_differ_in_case(tmp_path: Path) -> None:
    pixels = tiff_data(0, z=0, file="A.ome.tif") + tiff_data(0, z=1, file="B.ome.tif")
    write_pages(tmp_path / "a.OME.TIF", planes(1), ome(ome_image(pixels, z=2)))
    write_pages(tmp_path / "b.OME.TIF", planes(2)[1:])
    assert named(tmp_path / "a.OME.TIF") == ["a.OME.TIF", "b.OME.TIF"]


def test_files_are_in_natural_order(tmp_path: Path) -> None:
    from imaging_db.readers.ome_peek import ome_files_in

    names = ["z2.ome.tif", "z10.ome.tif", "z10b.ome.tif", "z11.OME.TIFF"]
    for name in [*names, "z3.tif", ".z4.ome.tif", "z5.ome.tif.part"]:
        (tmp_path / name).touch()
    assert [path.name for path in ome_files_in(tmp_path)] == names


def test_a_set_whose_files_are_not_named_ome(tmp_path: Path) -> None:
    for path in (DATA / MASTER).glob("*.ome.tiff"):
        shutil.copy(path, tmp_path / path.name.replace(".ome.tiff", ".tif"))
    write_pages(tmp_path / "other.tif", planes(1))
    assert slices(tmp_path) == EXPECTED[MASTER]
