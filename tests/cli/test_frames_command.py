"""Queries on the command line: frames, data_downloader --where, query_data --where, db index."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db.catalog import Catalog
from imaging_db.cli import main
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(small_lab: Lab, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command over a lab with two stacks of 2 channels, 3 slices and 2 timepoints, and a file."""
    for number in (1, 2):
        imagej_stack(small_lab.folder / f"{number}.tif", t=2, z=3, c=2, seed=number, side=16)
    small_lab.upload(*(small_lab.folder / f"{number}.tif" for number in (1, 2)))
    login, config = small_lab.write_files()

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.main([*words, "--login", str(login), "--config", str(config)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def run_db(run: Run, small_lab: Lab, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main.main([*words, "--login", str(small_lab.folder / "db_credentials.json")])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_frames_are_listed_and_counted(run: Run) -> None:
    code, out, err = run("frames", "--where", "z = mid and t = last", "--columns", "serial,c,z,t")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["serial", "c", "z", "t"],
        *([f"LAB-2020-01-02-03-04-05-000{n}", str(c), "1", "1"] for n in (1, 2) for c in (0, 1)),
    ]
    assert run("frames", "--where", "z = mid", "--count") == (0, "8\n", "")
    assert json.loads(run("frames", "--where", "z = mid", "--count", "--json")[1]) == {"frames": 8}


def test_nothing_found_prints_nothing(run: Run) -> None:
    assert run("frames", "--where", "z = 99") == (0, "", "")
    assert json.loads(run("frames", "--where", "z = 99", "--json")[1]) == []
    assert run("frames", "--where", "z = 99", "--csv", "--columns", "z") == (0, "z\n", "")


def test_pages_are_gone_through_with_the_place_that_is_told(run: Run) -> None:
    everything = run("frames", "--where", "c = 0", "--csv")[1].splitlines()
    pages: list[str] = []
    after: tuple[str, ...] = ()
    while True:
        _, out, err = run("frames", "--where", "c = 0", "--csv", "--limit", "5", *after)
        pages += out.splitlines()[1:]
        if not err:
            break
        after = ("--after", err.split()[-1])
    assert pages == everything[1:]


def test_forms_hold_the_same(run: Run, tmp_path: Path) -> None:
    import pandas as pd

    asked = ("frames", "--where", "t = 0", "--columns", "name,z,mean,blank,acquired,meta.x")
    rows = json.loads(run(*asked, "--json")[1])
    table = list(csv.DictReader(io.StringIO(run(*asked, "--csv")[1])))
    path = tmp_path / "frames.parquet"
    assert run(*asked, "--parquet", str(path))[:2] == (0, f"12 frames: {path}\n")
    frame = pd.read_parquet(path)
    assert len(rows) == len(table) == len(frame) == 12
    assert (
        [row["mean"] for row in rows]
        == [float(row["mean"]) for row in table]
        == list(frame["mean"])
    )
    assert rows[0]["blank"] is False and table[0]["blank"] == "false" and not frame["blank"][0]
    assert rows[0]["acquired"] == table[0]["acquired"] == frame["acquired"][0].isoformat()
    code, _, err = run(*asked, "--parquet", str(path))
    assert (code, "exists already" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("--where", "chanel = GFP"),
            "--where: unknown field 'chanel' at character 1: '>>chanel = GFP'; did you",
        ),
        (("--where", "z = 1", "--columns", "z,nope"), "--columns: unknown field 'nope'"),
        (("--where", "z = 1", "--columns", "serial,nope", "--count"), "unknown field 'nope'"),
        (("--where", "z = 1", "--columns", "z,c,z"), "--columns: 'z' is 'z', which is named"),
        (("--where", "z = 1", "--columns", "z,slice"), "--columns: 'slice' is 'z', which is"),
        (("--where", "z = 1", "--columns", ""), "--columns: names no field"),
        (("--where", "z = 1", "--columns", ",,"), "--columns: names no field"),
        (("--where", "z = 1", "--columns", 'z"'), "--columns: this quote does not end"),
        (("--where", "z = 1", "--parquet", ""), "--parquet: names no file"),
        (("--where", "z = 1", "--after", "here"), "'here' is no place such as ID/c0z1t0p3"),
        (("--where", "z = 1", "--count", "--limit", "3"), "--count counts all of them"),
        (("--where", "z = 1", "--json", "--csv"), "contradict"),
    ],
)
def test_what_cannot_be_asked_is_one_error(run: Run, words: tuple[str, ...], told: str) -> None:
    try:
        code, out, err = run("frames", *words)
    except SystemExit as refusal:  # argparse
        assert refusal.code == 2
        return
    assert (code, out, told in err, err.count("error: ")) == (2, "", True, 1)


def test_csv_holds_nothing_that_a_spreadsheet_runs(run: Run, small_lab: Lab) -> None:
    hostile = "=HYPERLINK(1)\x1b[31m"
    with Catalog.open(small_lab.settings.database) as catalog:
        catalog.describe(small_lab.serial(1), description=hostile, microscope="-3")
    asked = ("frames", "--where", "z = 0", "--limit", "1", "--columns", "description,microscope")
    assert run(*asked, "--csv")[1] == f"description,microscope\n'{hostile},-3\n"
    assert run(*asked)[1].splitlines()[1] == "=HYPERLINK(1)\\x1b[31m  -3"
    odd = os.fsdecode(b"\xff")
    out = run(
        "frames", "--where", f"z = 0 and meta.{odd} is null", "--columns", f"meta.{odd}", "--csv"
    )
    assert (out[0], out[1].splitlines()[0]) == (0, "meta.\ufffd")


def test_what_a_query_finds_is_downloaded_a_folder_each(run: Run, small_lab: Lab) -> None:
    dest = small_lab.folder / "found"
    asked = ("download", "--where", "z = mid and c = 1", "--dest", str(dest))
    code, out, _ = run(*asked, "--dry-run")
    assert (code, out.splitlines()[-1].split(",")[0], dest.exists()) == (0, "4 objects", False)
    code, out, err = run(*asked)
    assert (code, err) == (0, "")
    assert [line.split(",")[0] for line in out.splitlines()] == ["2 frames", "2 frames"]
    names = sorted(path.name for path in dest.rglob("*.png"))
    assert names == sorted(f"im_c001_z001_t00{t}_p000.png" for t in (0, 1) for _ in (1, 2))
    again = run(*asked, "--id", small_lab.serial(2), "-t", "0", "--json")
    (report,) = json.loads(again[1])
    assert (report["serial"], report["written"], report["kept"]) == (small_lab.serial(2), 0, 1)


def test_one_dataset_that_fails_keeps_no_other_back(run: Run, small_lab: Lab) -> None:
    for path in (small_lab.folder / "store").rglob(f"*{small_lab.serial(1)}*/*.png"):
        path.unlink()
    code, out, err = run("download", "--where", "z = 0", "--dest", str(small_lab.folder / "dest"))
    assert code == 3
    assert [line.split(",")[0] for line in out.splitlines()] == ["4 frames"]
    assert small_lab.serial(1) in err


def test_nothing_selected(run: Run, small_lab: Lab) -> None:
    dest = str(small_lab.folder / "dest")
    for words in (("--where", "z = 99"), ("--where", "z = 0", "-z", "1")):
        code, out, err = run("download", *words, "--dest", dest)
        assert (code, out, err.count("error: ")) == (2, "", 1), words
    code, _, err = run(
        "download", "--where", "z = 0", "--id", "LAB-2020-01-02-03-04-05-0009", "--dest", dest
    )
    assert (code, "there is no dataset" in err) == (2, True)
    code, _, err = run("download", "--dest", dest)
    assert (code, "--id" in err and "--where" in err) == (2, True)


def test_datasets_that_a_query_finds(run: Run, small_lab: Lab) -> None:
    _, out, _ = run("query", "--where", "serial = *0002 and slices = 3")
    assert out == f"1 dataset\n0 {small_lab.serial(2)}\n"
    assert run("query", "--where", "z = 1", "--project_id", "0001")[1].startswith("1 dataset\n")


def test_indexes_of_metadata(run_db: Run) -> None:
    assert run_db("db", "index", "meta.Exposure-ms") == (0, "indexed meta.Exposure-ms\n", "")
    assert run_db("db", "index", "meta.Exposure-ms") == (
        0,
        "indexed already: meta.Exposure-ms\n",
        "",
    )
    assert run_db("db", "index") == (0, "meta.Exposure-ms\n", "")
    assert run_db("db", "check") == (0, "the tables are as they should be\n", "")
    assert (
        run_db("db", "index", "--drop", "meta.Exposure-ms")[1]
        == "dropped the index of meta.Exposure-ms\n"
    )
    assert json.loads(run_db("db", "index", "--json")[1]) == {"changed": False, "indexed": []}
    code, _, err = run_db("db", "index", "z")
    assert (code, "no path into metadata" in err) == (2, True)


def test_an_empty_query_never_means_everything(run: Run, small_lab: Lab, tmp_path: Path) -> None:
    serial = small_lab.serial()
    for words in (
        ["frames"],
        ["export", serial, "--to", "ome-zarr", "--dest", str(tmp_path / "out")],
        ["annotate", "--tag", "good"],
    ):
        code, _, err = run(*words, "--where", "")
        assert (code, "the query is empty" in err) == (2, True), words
    assert not (tmp_path / "out").exists()
