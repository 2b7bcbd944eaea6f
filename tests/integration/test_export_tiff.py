"""Exports to OME-TIFF, to a folder of tif files, and to files: complete, byte-exact, resumed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.errors import ChecksumMismatch, Conflict, IntegrityError, UsageError
from imaging_db.export import ExportReport, Written, export
from imaging_db.export import tiff_pages as pages
from imaging_db.export.ome_xml import NAMESPACE
from imaging_db.model import FrameSelection, UploadType, sha256_of_bytes, sha256_of_pixels
from tests.support.acquisitions import imagej_stack, pixels, tif_folder
from tests.support.commands import FORKS, IMAGING_DB, Commands, Done
from tests.support.lab import Lab
from tests.support.ome_schema import problems

OME = f"{{{NAMESPACE}}}"


@pytest.fixture
def stack(small_lab: Lab, tmp_path: Path) -> Any:
    """A dataset of 2 timepoints, 3 slices and 2 channels; its pixels as (T, Z, C, Y, X)."""
    data = imagej_stack(tmp_path / "a.tif", t=2, z=3, c=2, side=40)
    small_lab.upload_one(tmp_path / "a.tif")
    return data


def exported(lab: Lab, to: str, serial: str | None = None, **options: Any) -> ExportReport:
    with ImagingDB(lab.settings) as db:
        dest = lab.folder / options.pop("dest", "out")
        return export(db, serial or lab.serial(), dest, to=to, **options)


def run(commands: Commands, lab: Lab, to: str, **options: Any) -> Done:
    """The command line in a process of its own, one frame after the other."""
    lab.write_files()
    words = ["export", lab.serial(), "--to", to, "--dest", "out", "--nbr_workers", "1"]
    return commands.run(IMAGING_DB, words, cwd=lab.folder, **options)


def document(path: Path) -> Any:
    """The OME-XML of a file, which the schema takes."""
    with tifffile.TiffFile(path) as file:
        text = file.pages.first.description
    assert problems(text) == []
    return ElementTree.fromstring(text)


def notes_of(root: Any) -> dict[str, str]:
    return {pair.get("K"): pair.text for pair in root.iter(f"{OME}M")}


def content(path: Path) -> dict[str, bytes]:
    """Every file of an export."""
    files = [path] if path.is_file() else path.iterdir()
    return {file.name: file.read_bytes() for file in files}


def test_pages_lie_in_the_order_that_the_document_tells(small_lab: Lab, stack: Any) -> None:
    report = exported(small_lab, "ome-tiff")
    with tifffile.TiffFile(report.path) as file:
        (series,) = file.series
        assert (series.axes, file.is_bigtiff) == ("TCZYX", False)
        assert np.array_equal(series.asarray(), stack.transpose(0, 2, 1, 3, 4))
        first = file.pages.first
        assert (first.compression.name, first.predictor.name) == ("ADOBE_DEFLATE", "HORIZONTAL")
    assert (report.written, report.kept, report.nbr_bytes) == (12, 0, stack.nbytes)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_every_type_comes_back_through_our_own_reader(
    small_lab: Lab, tmp_path: Path, dtype: str
) -> None:
    data = pixels(3, 20, 30, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", metadata=None)
    small_lab.upload_one(tmp_path / "a.tif")
    path = exported(small_lab, "ome-tiff").path
    document(path)
    rows = [{"dataset_id": small_lab.serial(2), "file_name": str(path)}]
    small_lab.upload_csv(small_lab.csv(rows=rows))
    with ImagingDB(small_lab.settings) as db:
        one, two = ({f.sha256 for f in db.dataset(small_lab.serial(n)).frames()} for n in (1, 2))
    assert one == two == {sha256_of_pixels(plane) for plane in data}


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colour_stays_one_plane(small_lab: Lab, tmp_path: Path, dtype: str, samples: int) -> None:
    data = pixels(20, 30, samples, dtype=dtype)
    tifffile.imwrite(tmp_path / "rgb.tif", data, photometric="rgb")
    small_lab.upload_one(tmp_path / "rgb.tif")
    path = exported(small_lab, "ome-tiff").path
    assert np.array_equal(tifffile.imread(path), data)
    found = document(path).find(f"{OME}Image/{OME}Pixels")
    assert (found.get("SizeC"), found.get("Interleaved")) == (str(samples), "true")
    assert found.find(f"{OME}Channel").get("SamplesPerPixel") == str(samples)


def test_true_and_false_become_1_and_0(small_lab: Lab, tmp_path: Path) -> None:
    data = pixels(20, 30, dtype="uint8") > 127
    tifffile.imwrite(tmp_path / "mask.tif", data, photometric="minisblack")
    small_lab.upload_one(tmp_path / "mask.tif")
    report = exported(small_lab, "ome-tiff")
    assert report.notes == ("pixels of type bool are written as uint8, 0 and 1",)
    assert np.array_equal(tifffile.imread(report.path), data.astype("uint8"))


def test_a_type_that_ome_does_not_have_is_refused(small_lab: Lab, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(9, 9, dtype="uint64"))
    small_lab.upload_one(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="no pixels of type uint64; export --to ome-zarr"):
        exported(small_lab, "ome-tiff")


def test_what_is_unknown_is_left_out_and_indices_are_noted(small_lab: Lab, stack: Any) -> None:
    selection = FrameSelection.of([1], slices=[0, 2], timepoints=1)
    report = exported(small_lab, "ome-tiff", selection=selection)
    assert np.array_equal(tifffile.imread(report.path), stack[1, [0, 2], 1])
    root = document(report.path)
    told = root.find(f"{OME}Image/{OME}Pixels").attrib
    assert not [name for name in told if name.startswith(("Physical", "TimeIncrement"))]
    notes = notes_of(root)
    assert notes["dataset"] == small_lab.serial()
    assert (notes["channels of the dataset"], notes["slices of the dataset"]) == ("1", "0 2")


def test_texts_of_every_kind_are_valid_in_the_document(small_lab: Lab, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(9, 9))
    about = 'α-tubulin <50 µm> & "DAPI"'
    row = {"dataset_id": small_lab.serial(), "file_name": str(tmp_path / "a.tif")}
    small_lab.upload_csv(small_lab.csv(rows=[row | {"description": about}]))
    with ImagingDB(small_lab.settings) as db:
        db.annotations.set(small_lab.serial(), "stain", "Höchst")
    root = document(exported(small_lab, "ome-tiff").path)
    assert root.find(f"{OME}Image/{OME}Description").text == about
    assert notes_of(root)["stain"] == "Höchst"


@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder"])
def test_a_killed_export_goes_on_and_comes_to_the_same_bytes(
    small_lab: Lab, stack: Any, to: str, commands: Commands
) -> None:
    whole = exported(small_lab, to, dest="whole").path
    for frame in (7, 4):
        assert run(commands, small_lab, to, failpoint=f"object.fetched:{frame}:kill").code == -9
        assert [path.name[0] for path in (small_lab.folder / "out").iterdir()] == ["."]
    report = exported(small_lab, to)
    assert report.kept > 0
    assert report.kept + report.written == 12
    assert content(report.path) == content(whole)
    assert list((small_lab.folder / "out").iterdir()) == [report.path]


def test_what_a_killed_run_left_half_written_is_cut_off(
    small_lab: Lab, stack: Any, commands: Commands
) -> None:
    whole = exported(small_lab, "ome-tiff", dest="whole").path
    assert run(commands, small_lab, "ome-tiff", failpoint="object.fetched:7:kill").code == -9
    (part,) = (small_lab.folder / "out").iterdir()
    with (part / "content").open("ab") as stream:
        stream.write(b"half a page")
    with (part / "pages").open("a") as stream:
        stream.write("99999999 0123\n123")  # a page that did not reach the disk, and half a line
    report = exported(small_lab, "ome-tiff")
    assert 0 < report.kept < 12
    assert report.path.read_bytes() == whole.read_bytes()


def test_pages_that_read_back_otherwise_never_get_a_name(
    small_lab: Lab, stack: Any, commands: Commands
) -> None:
    assert run(commands, small_lab, "ome-tiff", failpoint="object.fetched:7:kill").code == -9
    (part,) = (small_lab.folder / "out").iterdir()
    with tifffile.TiffFile(part / "content") as file:  # the last page may be torn, and is left out
        inside = file.pages.first.dataoffsets[0] + 20
    damaged = bytearray((part / "content").read_bytes())
    damaged[inside] ^= 255
    (part / "content").write_bytes(damaged)
    with pytest.raises(IntegrityError, match="reads back otherwise than it was written"):
        exported(small_lab, "ome-tiff")
    report = exported(small_lab, "ome-tiff")
    assert (report.kept, report.written) == (0, 12)


def test_a_part_whose_beginning_is_lost_is_begun_anew(
    small_lab: Lab, stack: Any, commands: Commands
) -> None:
    assert run(commands, small_lab, "ome-tiff", failpoint="object.fetched:7:kill").code == -9
    (part,) = (small_lab.folder / "out").iterdir()
    with (part / "content").open("r+b") as stream:
        stream.write(bytes(512))
    report = exported(small_lab, "ome-tiff")
    assert (report.kept, report.written) == (0, 12)


@pytest.mark.skipif(not FORKS, reason="there is no such limit here")
@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder"])
def test_a_full_disk_is_told_and_rerunning_finishes(
    small_lab: Lab, tmp_path: Path, to: str, commands: Commands
) -> None:
    data = np.concatenate([np.zeros((2, 300, 300), "uint16"), pixels(3, 300, 300)])
    tifffile.imwrite(tmp_path / "a.tif", data, imagej=True, metadata={"axes": "ZYX"})
    small_lab.upload_one(tmp_path / "a.tif")
    done = run(commands, small_lab, to, largest_file=150_000)
    assert done.code == 5, done.stderr
    assert "is full" in done.stderr.splitlines()[-1]
    assert [path.name[0] for path in (small_lab.folder / "out").iterdir()] == ["."]
    report = exported(small_lab, to)
    assert report.kept >= 2
    assert report.kept + report.written == 5


@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder", "files"])
def test_a_second_export_finds_the_first(small_lab: Lab, stack: Any, to: str) -> None:
    first = exported(small_lab, to)
    before = content(first.path)
    again = exported(small_lab, to)
    assert (again.outcome, again.kept, again.written) == (Written.ALREADY_THERE, 12, 0)
    assert content(first.path) == before


@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder"])
def test_another_export_of_that_name_is_replaced_only_on_demand(
    small_lab: Lab, stack: Any, to: str
) -> None:
    first = exported(small_lab, to, selection=FrameSelection.of([0]))
    before = content(first.path)
    with pytest.raises(Conflict, match=r"is another export; .* --overwrite"):
        exported(small_lab, to)
    assert content(first.path) == before
    assert exported(small_lab, to, overwrite=True).written == 12
    assert exported(small_lab, to).outcome is Written.ALREADY_THERE


@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder"])
def test_a_damaged_export_is_not_already_there(small_lab: Lab, stack: Any, to: str) -> None:
    path = exported(small_lab, to).path
    file = path if path.is_file() else min(path.glob("*.tif"))
    damaged = bytearray(file.read_bytes())
    damaged[-30] ^= 255
    file.write_bytes(damaged)
    with pytest.raises(Conflict):
        exported(small_lab, to)
    assert exported(small_lab, to, overwrite=True).outcome is Written.EXPORTED


@pytest.mark.parametrize("to", ["ome-tiff", "tif-folder"])
def test_a_damaged_frame_is_named_and_nothing_has_a_name(
    small_lab: Lab, stack: Any, to: str
) -> None:
    (key,) = (key for key in small_lab.keys() if "c001_z002_t001" in key)  # noqa: SIM118
    stored = Path(small_lab.settings.store.access) / key
    damaged = bytearray(stored.read_bytes())
    damaged[-20] ^= 1
    stored.chmod(0o600)
    stored.write_bytes(damaged)
    with pytest.raises(ChecksumMismatch, match="im_c001_z002_t001_p000"):
        exported(small_lab, to)
    assert [path.name[0] for path in (small_lab.folder / "out").iterdir()] == ["."]


@pytest.fixture
def hole(small_lab: Lab, tmp_path: Path) -> Any:
    """A dataset of 2 timepoints and 3 slices, of which t1 z1 is missing; (T, Z, Y, X)."""
    data = tif_folder(tmp_path / "images")
    (tmp_path / "images" / "img_phase_t001_p000_z001.tif").unlink()
    small_lab.config(filename_parser="parse_sms_name").upload_one(tmp_path / "images")
    return data


def test_a_hole_is_refused_or_filled(small_lab: Lab, hole: Any) -> None:
    with pytest.raises(UsageError, match=r"1 frame is missing: c0 z1 t1 p0; .* --fill"):
        exported(small_lab, "ome-tiff")
    report = exported(small_lab, "ome-tiff", fill=7)
    hole[1, 1] = 7
    assert np.array_equal(tifffile.imread(report.path), hole)
    assert notes_of(document(report.path))["missing, filled with 7"] == "c0 z1 t1 p0"
    again = exported(small_lab, "ome-tiff", fill=7)
    assert (again.outcome, again.kept) == (Written.ALREADY_THERE, 5)


def test_a_folder_of_tif_files_keeps_a_hole(small_lab: Lab, hole: Any) -> None:
    report = exported(small_lab, "tif-folder")
    assert report.notes == ("1 frame is missing, it has no file",)
    assert len(list(report.path.glob("img_phase_t00?_p000_z00?.tif"))) == 5


def test_a_folder_of_tif_files_comes_back_frame_by_frame(small_lab: Lab, tmp_path: Path) -> None:
    data = tif_folder(tmp_path / "images")
    small_lab.upload_one(tmp_path / "images")
    path = exported(small_lab, "tif-folder").path
    rows = [{"dataset_id": small_lab.serial(2), "file_name": str(path)}]
    (report,) = small_lab.upload_csv(small_lab.csv(rows=rows))
    assert report.error is None
    with ImagingDB(small_lab.settings) as db:
        one, two = (
            {f.coords: (f.channel_name, f.sha256) for f in db.dataset(small_lab.serial(n)).frames()}
            for n in (1, 2)
        )
    assert one == two
    assert len(one) == data.shape[0] * data.shape[1]


def test_the_table_beside_tif_files_names_them_with_their_checksums(
    small_lab: Lab, stack: Any
) -> None:
    path = exported(small_lab, "tif-folder").path
    with (path / "frames_meta.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 12
    for row in rows:
        data = (path / row["file_name"]).read_bytes()
        assert sha256_of_bytes(data) == row["object_sha256"]
        assert sha256_of_pixels(tifffile.imread(path / row["file_name"])) == row["sha256"]
    assert {row["file_name"][:9] for row in rows} == {"img_c000_", "img_c001_"}
    whole = json.loads((path / "global_metadata.json").read_bytes())
    assert whole["dataset_serial"] == small_lab.serial()


def test_an_uploaded_folder_comes_back_as_files(small_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "notes.txt").write_text("kept as it is")
    lab = small_lab.config(upload_type=UploadType.FILE)
    lab.upload_one(tmp_path / "some")
    with pytest.raises(UsageError, match="holds files, not frames"):
        exported(lab, "ome-tiff")
    report = exported(lab, "files")
    assert (report.written, report.noun) == (1, "file")
    (file,) = (path for path in report.path.rglob("*") if path.is_file())
    assert file.read_text() == "kept as it is"


def test_files_of_frames_are_the_stored_objects(small_lab: Lab, stack: Any) -> None:
    report = exported(small_lab, "files", selection=FrameSelection.of([1], timepoints=0))
    names = {path.name for path in report.path.iterdir()}
    frames = {f"im_c001_z{z:03d}_t000_p000.png" for z in range(3)}
    assert names == frames | {"frames_meta.csv", "global_metadata.json"}


def test_large_files_are_bigtiff_and_are_resumed_as_such(tmp_path: Path) -> None:
    assert not pages.needs_big(900, page_bytes=2048 * 2048, description=10_000)
    assert pages.needs_big(1_100, page_bytes=2048 * 2048, description=10_000)
    layout = pages.PageLayout((30, 40), "uint16", big=True, pixel_size_um=(0.5, 0.25))
    planes = pixels(5, 30, 40)
    path, journal = tmp_path / "a.tif", tmp_path / "pages"
    for end in (2, 5):
        with pages.PageWriter(path, journal, layout, description=b"", software="test") as writer:
            for plane in planes[len(writer.hashes) : end]:
                writer.write(layout.encode(plane), sha256_of_pixels(plane))
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert file.pages.first.tags["XResolution"].value == (20_000, 1)
    found = list(pages.read_hashes(path, dtype="uint16", workers=2))
    assert found == [sha256_of_pixels(plane) for plane in planes]
