"""Datasets kept as JPEG XL or TIFF do all that datasets kept as PNG do."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.cli import data_downloader, data_uploader
from imaging_db.cli import main as imaging_db_command
from imaging_db.codecs import codec_of, decode_frame
from imaging_db.errors import Interrupted, ObjectsInTheWay, SchemaOutOfDate, UsageError
from imaging_db.model import UploadType, sha256_of_bytes
from imaging_db.transfer import Outcome
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.faulty import Faulty
from tests.support.lab import Lab, build_lab


def names(folder: Path) -> list[str]:
    """The frames in a downloaded folder."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("im_"))


def suffixes(lab: Lab) -> set[str]:
    """The kinds of objects in the store."""
    found: list[str] = lab.keys()
    return {Path(key).suffix for key in found}


def listed(folder: Path) -> list[dict[str, str]]:
    """The rows of frames_meta.csv."""
    with (folder / "frames_meta.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def mixed(folder: Path) -> Path:
    """A source whose pixels PNG does not hold."""
    tifffile.imwrite(
        folder / "signed.tif",
        pixels(4, 20, 30, dtype="int16"),
        imagej=True,
        metadata={"axes": "ZYX"},
    )
    return folder / "signed.tif"


# --- the same as with PNG


@pytest.mark.parametrize(
    ("combination", "codec", "suffix"),
    [
        ("sqlite+local", "jxl", ".jxl"),
        ("postgres+moto", "jxl", ".jxl"),
        ("sqlite+local", "tiff", ".tif"),
    ],
)
def test_up_verified_and_down_again(
    combination: str, codec: str, suffix: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    lab = build_lab(combination, request.getfixturevalue, tmp_path).config(frames_codec=codec)
    data = imagej_stack(tmp_path / "a.tif", t=2, z=2, c=2, side=300)
    lab.upload_one(tmp_path / "a.tif")
    assert lab.upload_one(tmp_path / "a.tif").outcome is Outcome.ALREADY_THERE
    assert suffixes(lab) == {suffix}
    report = lab.download()
    assert (report.written, report.notes) == (8, ())
    assert lab.download().kept == 8
    for row in listed(report.folder):
        stored = (report.folder / row["file_name"]).read_bytes()
        assert row["object_sha256"] == sha256_of_bytes(stored)
        c, z, t = (int(row[name]) for name in ("channel_idx", "slice_idx", "time_idx"))
        assert np.array_equal(decode_frame(stored), data[t, z, c])
    with ImagingDB(lab.settings) as db:
        assert not db.verify(lab.serial()).failures
        view = db.dataset(lab.serial())
        stack, dims = view.stack()
        assert {frame.codec for frame in view.frames()} == {codec}
        assert view.codec == view.dataset.codec == codec
    assert dims == "XYZCT"
    assert np.array_equal(stack, data.transpose(3, 4, 1, 2, 0))


def test_an_upload_that_broke_off_goes_on(small_lab: Lab, tmp_path: Path) -> None:
    lab = small_lab.config(frames_codec="jxl")
    source = broken_off(lab, tmp_path, after=5)
    report = lab.upload_one(source)
    assert (report.outcome, report.nbr_objects) == (Outcome.UPLOADED, 8)
    assert report.reused > 0
    assert suffixes(lab) == {".jxl"}


def broken_off(lab: Lab, folder: Path, *, after: int) -> Path:
    """A source whose upload was interrupted after some frames."""
    imagej_stack(folder / "a.tif")
    with ImagingDB(lab.settings) as db:
        db.init()
        faulty = Faulty(db.store, ("put",), after, KeyboardInterrupt)
        db._stores[lab.settings.store] = faulty  # type: ignore[assignment]
        with pytest.raises(Interrupted):
            db.upload(lab.csv(folder / "a.tif"), workers=1)
    return folder / "a.tif"


# --- another codec than before


def test_frames_of_two_codecs_are_never_mixed(small_lab: Lab, tmp_path: Path) -> None:
    source = broken_off(small_lab, tmp_path, after=5)
    other = small_lab.config(frames_codec="jxl")
    with pytest.raises(ObjectsInTheWay, match="--overwrite"):
        other.upload_one(source)
    left = len(small_lab.keys())
    report = other.upload_one(source, overwrite=True)
    assert report.removed == left > 0
    assert suffixes(small_lab) == {".jxl"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_there_stays_as_it_is_kept_and_says_so(
    small_lab: Lab, tmp_path: Path, overwrite: bool
) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    report = small_lab.config(frames_codec="jxl").upload_one(
        tmp_path / "a.tif", overwrite=overwrite
    )
    assert report.outcome is Outcome.ALREADY_THERE
    (note,) = report.notes
    assert note.startswith("it is kept as png, not as jxl, and stays so")
    assert suffixes(small_lab) == {".png"}


def test_where_every_codec_ends_as_tiff_the_choice_makes_no_difference(
    small_lab: Lab, tmp_path: Path
) -> None:
    source = mixed(tmp_path)
    for codec in ("png", "jxl", "tiff"):
        report = small_lab.config(frames_codec=codec).upload_one(source)
        assert report.notes == ()
    with ImagingDB(small_lab.settings) as db:
        assert db.dataset(small_lab.serial()).codec == "tiff"


def test_a_dataset_without_a_recorded_codec_has_what_its_type_calls_for(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")
    for report in small_lab.upload(tmp_path / "a.tif", mixed(tmp_path)):
        assert report.error is None
    with closing(sqlite3.connect(small_lab.settings.database.dbname)) as connection, connection:
        connection.execute("UPDATE frames_global SET codec = NULL")
    with ImagingDB(small_lab.settings) as db:
        assert [db.dataset(small_lab.serial(n)).codec for n in (1, 2)] == ["png", "tiff"]
    report = small_lab.config(frames_codec="jxl").upload_one(tmp_path / "a.tif")
    assert report.notes[0].startswith("it is kept as png, not as jxl")


def test_a_codec_that_nobody_knows_is_refused_before_anything_starts(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="unknown codec 'jlx'; known: png, jxl, tiff"):
        small_lab.config(frames_codec="jlx").upload(tmp_path / "a.tif")


def test_a_codec_of_a_newer_version_can_be_downloaded_and_nothing_else(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.config(frames_codec="jxl").upload_one(tmp_path / "a.tif")
    with closing(sqlite3.connect(small_lab.settings.database.dbname)) as connection, connection:
        connection.execute("UPDATE frames SET codec = 'jpegxs'")
    assert small_lab.download().written == 8
    with ImagingDB(small_lab.settings) as db:
        view = db.dataset(small_lab.serial())
        for asked in (
            lambda: db.verify(small_lab.serial()),
            lambda: view.stack(),
            lambda: db.download(small_lab.serial(), tmp_path / "png", convert="png"),
        ):
            with pytest.raises(SchemaOutOfDate, match=r"kept as 'jpegxs'.*update imaging_db"):
                asked()


# --- PNG on request


@pytest.mark.parametrize("codec", ["jxl", "tiff"])
def test_a_download_can_convert_to_png(small_lab: Lab, tmp_path: Path, codec: str) -> None:
    imagej_stack(tmp_path / "a.tif", side=40)
    small_lab.upload_one(tmp_path / "a.tif")
    as_png = small_lab.download(dest="as png").folder
    other = Lab(small_lab.settings, tmp_path / "other").config(frames_codec=codec)
    other.folder.mkdir()
    other.upload_csv(
        other.csv(rows=[{"dataset_id": other.serial(2), "file_name": str(tmp_path / "a.tif")}])
    )
    with ImagingDB(other.settings) as db:
        report = db.download(other.serial(2), tmp_path / "out", convert="png")
        again = db.download(other.serial(2), tmp_path / "out", convert="png")
    assert (report.written, report.kept, report.notes) == (8, 0, ())
    assert (again.written, again.kept) == (0, 8)
    assert report.nbr_bytes == sum((report.folder / n).stat().st_size for n in names(report.folder))
    for name in names(as_png):
        assert (report.folder / name).read_bytes() == (as_png / name).read_bytes()
    for row in listed(report.folder):
        data = (report.folder / row["file_name"]).read_bytes()
        assert codec_of(data) == "png"
        assert row["object_sha256"] == ""
    assert {row["sha256"] for row in listed(report.folder)} == {
        row["sha256"] for row in listed(as_png)
    }


def test_only_a_png_with_these_pixels_is_kept(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=1)
    small_lab.config(frames_codec="jxl").upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        folder = db.download(small_lab.serial(), tmp_path / "dest", convert="png").folder
        db.download(small_lab.serial(), tmp_path / "dest")
        first, second, third, _ = (folder / n for n in names(folder) if n.endswith(".png"))
        good = [path.read_bytes() for path in (first, second, third)]
        first.write_bytes(good[1])
        second.write_bytes(second.with_suffix(".jxl").read_bytes())
        third.write_bytes(good[2][:-20])
        again = db.download(small_lab.serial(), tmp_path / "dest", convert="png")
    assert (again.written, again.kept) == (3, 1)
    assert [path.read_bytes() for path in (first, second, third)] == good


def test_both_forms_may_lie_in_one_folder(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=1, z=1)
    small_lab.config(frames_codec="jxl").upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        for convert, suffix in ((None, ".jxl"), ("png", ".png"), (None, ".jxl")):
            folder = db.download(small_lab.serial(), tmp_path / "dest", convert=convert).folder
            assert {Path(row["file_name"]).suffix for row in listed(folder)} == {suffix}
    assert len(names(folder)) == 4


def test_what_png_does_not_hold_stays_as_it_is_and_is_told(
    small_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small_lab.upload_one(mixed(tmp_path))
    with ImagingDB(small_lab.settings) as db:
        report = db.download(small_lab.serial(), tmp_path / "dest", convert="png")
    assert {Path(name).suffix for name in names(report.folder)} == {".tif"}
    assert report.notes == ("4 of 4 frames came as they are stored: png does not hold int16",)
    assert all(row["object_sha256"] for row in listed(report.folder))


def test_a_conversion_must_be_possible_and_mean_something(small_lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    small_lab.config(upload_type=UploadType.FILE).upload_one(tmp_path / "notes.txt")
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(UsageError, match="holds files, not frames: --convert means nothing"):
            db.download(small_lab.serial(), tmp_path / "dest", convert="png")
        with pytest.raises(UsageError, match="cannot be converted to 'gif'; known: png"):
            db.download(small_lab.serial(), tmp_path / "dest", convert="gif")


# --- from a user's chair


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    imagej_stack(small_lab.folder / "a.tif")
    small_lab.csv("a.tif")
    return small_lab


def configure(**keys: str) -> None:
    path = Path("config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def test_the_option_wins_over_the_config(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    configure(frames_codec="tiff")
    upload = ["--csv", "files.csv"]
    assert imaging_db_command.main(["config", "show"]) == 0
    assert "frames_codec  tiff" in capsys.readouterr().out
    assert data_uploader.main([*upload, "--dry-run"]) == 0
    assert "kept as tiff" in capsys.readouterr().out
    assert data_uploader.main([*upload, "--codec", "jxl", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["codec"] == "jxl"
    assert data_uploader.main([*upload, "--codec", "jxl"]) == 0
    assert suffixes(desk) == {".jxl"}
    capsys.readouterr()
    for words in (upload, [*upload, "--dry-run"]):
        assert data_uploader.main(words) == 0
        assert "it is kept as jxl, not as tiff" in capsys.readouterr().err
    words = ["--id", desk.serial(), "--dest", "out", "--convert", "png"]
    assert data_downloader.main(words) == 0
    assert imaging_db_command.main(["show", desk.serial()]) == 0
    assert "codec       jxl" in capsys.readouterr().out


def test_the_option_means_nothing_for_files(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    configure(upload_type="file", frames_codec="jxl")
    assert data_uploader.main(["--csv", "files.csv", "--codec", "jxl"]) == 2
    assert "--codec: means nothing here" in capsys.readouterr().err
    assert data_uploader.main(["--csv", "files.csv"]) == 0
    configure(upload_type="frames")
    capsys.readouterr()
    assert data_uploader.main(["--csv", "files.csv", "--dry-run"]) == 0
    assert "kept as" not in capsys.readouterr().err


def test_a_mistyped_codec_is_told(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert data_uploader.main(["--csv", "files.csv", "--codec", "jlx"]) == 2
    assert "jlx" in capsys.readouterr().err
    configure(frames_codec="jlx")
    assert data_uploader.main(["--csv", "files.csv"]) == 2
    told = capsys.readouterr().err
    assert "frames_codec: 'jlx' is none of png, jxl, tiff (did you mean 'jxl'?)" in told
