"""qc from a user's chair: tables, pictures, and measuring what older versions uploaded."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from imaging_db.cli import main as imaging_db_command
from tests.support.lab import Lab
from tests.support.rot import rot, sql, with_files

T, Z, C = 6, 3, 2
BLANK, SATURATED, BLURRED, REPEAT = (0, 1, 2), (1, 1, 3), (1, 0, 4), (0, 2, 5)


def noisy(path: Path) -> None:
    """A stack of camera noise with one frame (c, z, t) of each kind that is suspicious."""
    data = np.random.default_rng(0).normal(600, 60, (T, Z, C, 48, 64)).astype(np.uint16)
    for c, z, t in (BLANK, SATURATED, BLURRED, REPEAT):
        data[t, z, c] = {
            BLANK: np.full((48, 64), 600),
            SATURATED: np.where(data[t, z, c] > 700, 65535, data[t, z, c]),
            BLURRED: np.repeat(np.arange(48), 64).reshape(48, 64),
            REPEAT: data[0, 2, 0],
        }[c, z, t]
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX", "finterval": 90.0})


@pytest.fixture
def desk(small_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose folder is the working folder, with one dataset of noise in it."""
    small_lab.write_files()
    monkeypatch.chdir(small_lab.folder)
    noisy(small_lab.folder / "noise.tif")
    small_lab.upload_one(small_lab.folder / "noise.tif")
    return small_lab


def qc(*words: str) -> int:
    return imaging_db_command.main(["qc", *words])


def test_suspicious_frames_are_named_with_the_rule_that_they_broke(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qc(desk.serial()) == 0
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out.splitlines()[0] == f"{desk.serial()}: 36 frames, 4 suspicious"
    for (c, z, t), word in (
        (BLANK, "blank"),
        (SATURATED, "saturated"),
        (BLURRED, "blurred"),
        (REPEAT, "repeat"),
    ):
        name = f"im_c{c:03d}_z{z:03d}_t{t:03d}_p000.png"
        assert f"  c{c} z{z} t{t} p0  {name}  {word}\n" in told.out
        assert f"\n  {word} " in told.out


def test_a_good_selection_has_no_suspicious_frame(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qc(desk.serial(), "-t", "0", "-c", "1") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{desk.serial()}: 3 frames, none suspicious\n")
    assert "blurred" not in out


def test_frames_as_csv_are_a_row_each(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert qc(desk.serial(), "--frames", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == T * Z * C
    assert {row["dataset_serial"] for row in rows} == {desk.serial()}
    assert [row["flagged"] for row in rows if row["blank"] == "True"] == ["blank"]
    assert all(float(r["intensity_p01"]) <= float(r["intensity_p99"]) for r in rows)


def test_csv_holds_nothing_that_a_spreadsheet_runs(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    sql(desk, "UPDATE frames SET channel_name = '=HYPERLINK(1)' WHERE channel_idx = 0")
    for words in (("--csv",), ("--csv", "--frames")):
        assert qc(desk.serial(), *words) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert {r["channel_name"] for r in rows if r["channel_idx"] == "0"} == {"'=HYPERLINK(1)"}


def test_several_datasets_make_one_csv(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    desk.upload(desk.folder / "noise.tif", desk.folder / "noise.tif")
    assert qc("--all", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(r["dataset_serial"], r["channel_idx"], r["frames"]) for r in rows] == [
        (desk.serial(number), str(c), "18") for number in (1, 2) for c in range(2)
    ]


def test_json_tells_rules_channels_and_suspicious_frames(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qc(desk.serial(), "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert [one["flagged"] for one in record["suspicious"]] == [
        "blank",
        "repeat",
        "blurred",
        "saturated",
    ]
    assert set(record["rules"]) == {"blank", "saturated", "blurred", "repeat"}
    assert [one["repeats"] for one in record["channels"]] == [1, 0]
    assert record["frames"] is None


def test_frames_of_before_are_told_and_a_backfill_measures_them(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    sql(desk, "UPDATE frames SET intensity_p01 = NULL, is_repeat = NULL WHERE channel_idx = 0")
    assert qc(desk.serial()) == 0
    assert "18 frames not measured, or not in full; imaging-db qc --backfill" in (
        capsys.readouterr().err
    )
    assert qc("--all", "--backfill") == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"{desk.serial()}: 18 frames measured now, repeats told of 18\n")
    assert told.err == ""


def test_a_backfill_names_what_is_damaged(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    key = rot(desk, ("flip",))["flip"]
    sql(desk, "UPDATE frames SET intensity_p01 = NULL")
    assert qc(desk.serial(), "--backfill") == 6
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {desk.serial()}: {key} is damaged")
    assert "--backfill can" not in told.err
    assert "35 frames measured now, 1 are missing or damaged\n" in told.out


def test_plots_are_written_and_named(desk: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert qc(desk.serial(), "--plots", "a/figures") == 0
    told = capsys.readouterr().out
    for name in ("intensity", "focus", "saturated"):
        path = Path("a/figures") / f"{desk.serial()}_{name}.png"
        assert f"written: {path}\n" in told
        with Image.open(path) as image:
            assert len(image.convert("RGB").getcolors(2**24) or []) > 20


def test_without_matplotlib_plots_are_refused_before_anything_is_read(
    desk: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert qc(desk.serial(), "--plots", "figures") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs matplotlib" in line
    assert "pip install 'imaging_db[figures]'" in line
    assert not Path("figures").exists()


def test_a_contact_sheet_frames_suspicious_thumbnails_in_red(desk: Lab) -> None:
    assert qc(desk.serial(), "--sheet", "good.png", "-t", "0") == 0
    assert qc(desk.serial(), "--sheet", "all.png") == 0
    red = [np.array(Image.open(path)) == (197, 34, 31) for path in ("good.png", "all.png")]
    assert [bool(found.all(axis=2).any()) for found in red] == [False, True]


def test_a_contact_sheet_of_a_damaged_frame_is_refused(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    rot(desk, ("flip",))
    assert qc(desk.serial(), "--sheet", "sheet.png", "-c", "0", "-z", "0", "-t", "0") == 6
    assert "is damaged" in capsys.readouterr().err
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "qc needs the ids of datasets, or --all"),
        (["A", "--all"], "qc needs the ids of datasets, or --all"),
        (["A", "--json", "--csv"], "--json and --csv contradict each other"),
        (["A", "B", "--sheet", "a.png"], "--sheet is of one dataset"),
        (["A", "--sheet", "a.jpg"], "a contact sheet is a PNG"),
        (["A", "-z", "x"], "-z 'x' is neither a whole number"),
        (["A"], "there is no dataset 'A'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    desk: Lab, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qc(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_nothing_selected_is_an_error_of_the_dataset_that_was_named(
    desk: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qc(desk.serial(), "-c", "GFP") == 2
    assert "has no frame that matches" in capsys.readouterr().err
    assert qc("--all", "-c", "GFP") == 0
    assert capsys.readouterr().err == "note: nothing is selected of any dataset of frames\n"


def test_a_dataset_of_files_has_no_figures(
    small_lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, _ = with_files(small_lab)
    lab.write_files()
    monkeypatch.chdir(lab.folder)
    assert qc(lab.serial()) == 2
    assert "holds files, and only frames have figures" in capsys.readouterr().err
    assert qc("--all") == 0
