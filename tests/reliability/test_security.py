"""Names, texts and rows that were meant to do harm."""

from __future__ import annotations

import os
import stat
import sys
import time
import unicodedata
from pathlib import Path

import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.codecs import decode_frame, encode_frame
from imaging_db.errors import DatasetNotFound, IntegrityError, InvalidDatasetId
from imaging_db.model import DatasetQuery, UploadType
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.counter import Counter
from tests.support.lab import Lab, build_lab
from tests.support.matrix import Injected

INJECTIONS = [
    "'; DROP TABLE data_set; --",
    "%",
    "_",
    "\\",
    "' OR '1'='1",
    "\\%",
    "%' --",
    "🔬",
    "\x00",
]
FORMULA = '=HYPERLINK("http://x";"y") +1 -1 @a'


@pytest.fixture(params=["sqlite+local", "postgres+local"])
def either_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    return build_lab(request.param, request.getfixturevalue, tmp_path)


@pytest.mark.fault("S1")
def test_searches_find_what_they_say_and_nothing_else(
    either_lab: Lab, tmp_path: Path, injected: Injected
) -> None:
    imagej_stack(tmp_path / "a.tif")
    texts = [text for text in INJECTIONS if text != "\x00"]
    rows = [
        {"dataset_id": either_lab.serial(n), "file_name": "a.tif", "description": f"a{text}b"}
        for n, text in enumerate(["plain", *texts])
    ]
    os.chdir(tmp_path)
    assert [report.error for report in either_lab.upload_csv(either_lab.csv(rows=rows))] == [
        None
    ] * len(rows)
    with ImagingDB(either_lab.settings) as db:
        for text in INJECTIONS:
            expected = sum(text in row["description"] for row in rows)
            for field in ("description", "text"):
                found = list(db.datasets(DatasetQuery(**{field: text})))
                assert len(found) >= expected if field == "text" else len(found) == expected, text
            for field in ("project", "microscope", "format", "parent"):
                try:
                    found = list(db.datasets(DatasetQuery(**{field: text})))
                except (DatasetNotFound, InvalidDatasetId):
                    found = []
                assert found == [], (field, text)
            injected.add(6)
        assert len(list(db.datasets())) == len(rows), "every table is still there"


@pytest.mark.fault("M7", "M8", "S8")
def test_odd_texts_are_kept_and_are_the_same_in_both_databases(
    either_lab: Lab, tmp_path: Path
) -> None:
    import json

    info = '{"a": NaN, "b": "\\u0000x", "c": "\\ud800", "d": 123456789012345678901234567890, "e": "🔬", "f": 1e999}'
    path = tmp_path / "a.tif"
    options = {"imagej": True, "metadata": {"axes": "ZYX", "Info": info}}
    tifffile.imwrite(path, pixels(2, 8, 8), **options)
    row = {"dataset_id": either_lab.serial(), "file_name": str(path), "description": FORMULA}
    (report,) = either_lab.upload_csv(either_lab.csv(rows=[row]))
    assert report.error is None
    folder = either_lab.download().folder
    with ImagingDB(either_lab.settings) as db:
        assert db.dataset(either_lab.serial()).dataset.description == FORMULA
    kept = json.loads((folder / "global_metadata.json").read_text(encoding="utf-8"))
    found = _find(kept, "Info")
    assert found == {
        "a": "NaN",
        "b": "\ufffdx",
        "c": "\ufffd",
        "d": found["d"],
        "e": "🔬",
        "f": "Infinity",
    }, found
    assert str(found["d"]).startswith("12345678901234567")


def _find(value: object, key: str) -> dict[str, object]:
    if isinstance(value, dict):
        if isinstance(value.get(key), dict):
            return value[key]
        for inner in value.values():
            if found := _find(inner, key):
                return found
    return {}


STRANGE = [
    "a b.tif",
    "-rf.tif",
    "'; DROP TABLE.tif",
    'say "x".tif',
    "100%s%41.tif",
    "[a-z]*?.tif",
    "größe 🔬.tif",
    "$(touch evil).tif",
    "`touch evil`.tif",
    "a;b,c.tif",
    "#x?y&z+.tif",
    "\u202egnp.tif",
    "x\x1b]0;evil\x07.tif",
    "line\nbreak.tif",
]


@pytest.mark.fault("P1", "S8")
@pytest.mark.skipif(os.name == "nt", reason="Windows forbids such names")
def test_a_source_may_have_any_name(counter: Counter, injected: Injected) -> None:
    data = (counter.folder / "a.tif").read_bytes()
    for name in STRANGE:
        (counter.folder / name).write_bytes(data)
    assert counter.upload(*STRANGE) == 0, counter.err
    for number in range(1, len(STRANGE) + 1):
        assert counter.run("imaging-db", "show", counter.lab.serial(number)) == 0
        assert "\x1b" not in counter.out
        assert "\x07" not in counter.out
    for name in STRANGE:
        (counter.folder / name).write_bytes(b"damaged")
    counter.upload(*STRANGE, words=("--overwrite",))
    assert not set("\x1b\x07\u202e") & set(counter.out + counter.err)
    assert len(counter.errors()) == len(STRANGE)
    assert not list(counter.folder.glob("evil"))
    injected.add(2 * len(STRANGE))


@pytest.mark.fault("S8")
def test_a_description_cannot_steer_the_terminal(counter: Counter) -> None:
    text = "x\x1b[2J\x07\u202ey"
    row = {"dataset_id": counter.lab.serial(), "file_name": "a.tif", "description": text}
    assert counter.run("upload", "--csv", counter.lab.csv(rows=[row])) == 0
    for words in (
        ("query", "--long"),
        ("imaging-db", "show", counter.lab.serial()),
        ("query", "--json"),
    ):
        assert counter.run(*words) == 0
        assert not set("\x1b\x07\u202e") & set(counter.out)


@pytest.mark.fault("P6")
@pytest.mark.skipif(sys.platform != "linux", reason="other systems fold such names themselves")
def test_composed_and_decomposed_letters_are_one_name(small_lab: Lab, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    for form in ("NFC", "NFD"):
        (source / unicodedata.normalize(form, "ü.txt")).write_text(form)
    lab = small_lab.config(upload_type=UploadType.FILE)
    (report,) = lab.upload(source)
    assert "differ only by case or accent" in str(report.error)
    assert lab.keys() == []


@pytest.mark.fault("P2")
@pytest.mark.parametrize("name", ["x" * 255, "x" * 256, "d/" * 300 + "x", "x/" * 3000])
def test_a_name_that_is_too_long_is_told(counter: Counter, name: str) -> None:
    assert counter.upload(name) == 2
    (line,) = counter.errors()
    assert "file_name" in line


@pytest.mark.fault("S9", "P8")
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_are_made_anew_and_within_the_umask(new_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif", t=4)
    seen: dict[str, int] = {}

    class Looking:
        def start(self, title: str, total: int) -> None: ...

        def advance(self, objects: int, nbr_bytes: int) -> None:
            for path in tmp_path.rglob("*"):
                if path.is_file() and path.name != "a.tif" and path.suffix != ".csv":
                    seen[str(path)] = stat.S_IMODE(path.stat().st_mode)

        def finish(self) -> None: ...

    before = os.umask(0o077)
    try:
        new_lab.upload_one(tmp_path / "a.tif", progress=Looking(), workers=1)
        folder = new_lab.download().folder
    finally:
        os.umask(before)
    seen |= {str(p): stat.S_IMODE(p.stat().st_mode) for p in folder.rglob("*") if p.is_file()}
    assert len(seen) > 16
    assert not [path for path, mode in seen.items() if mode & 0o077]


@pytest.mark.fault("S10")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the fuzzer bounds time by signals")
def test_no_target_of_the_fuzzer_finds_anything_soon(injected: Injected, tmp_path: Path) -> None:
    import re
    import subprocess

    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.inputs", "--plain", "--seconds", "5", "--seed", "1"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    injected.add(sum(int(n) for n in re.findall(r"(\d+) inputs", done.stdout)))


@pytest.mark.fault("S4", "S10")
def test_a_stored_page_that_lists_too_few_strips_is_refused_soon(tmp_path: Path) -> None:
    """Found by the fuzzer: half a million strips, one of them listed, took ten seconds to fill."""
    path = tmp_path / "frame.tif"
    path.write_bytes(encode_frame(pixels(30, 40, dtype="int16")).data)
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["ImageLength"].overwrite(10_000_000)
    began = time.process_time()
    with pytest.raises(IntegrityError, match="strips"):
        decode_frame(path.read_bytes())
    assert time.process_time() - began < 1


@pytest.mark.fault("S4", "S10")
def test_a_stored_page_without_an_offset_is_refused(tmp_path: Path) -> None:
    """Found by the fuzzer: the library's error was none of those that were expected."""
    with pytest.raises(IntegrityError):
        decode_frame(b"II*\0\x08\0")
