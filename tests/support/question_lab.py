"""The lab of docs/queries.md: its datasets and annotations as its tables name them, and its questions.

``python -m tests.support.question_lab`` writes the results of the questions into the page.
"""

from __future__ import annotations

import contextlib
import csv
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging_db import ImagingDB
from imaging_db.cli.demo import unpack
from imaging_db.config import DatabaseSettings, Settings, StoreSettings, UploadSettings
from imaging_db.model import UploadType
from tests.support.documents import ROOT

PAGE = ROOT / "docs" / "queries.md"


@dataclass(frozen=True)
class Question:
    """One row of the table of questions; ``line`` is the text of the whole row."""

    line: str
    asked: str
    query: str
    result: str


def rows_below(heading: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of the table below a heading of the page: the line, and its cells without code marks."""
    text = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2]
    table = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert table, f"no table below {heading}"
    for line in table[0].splitlines()[2:]:
        cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
        yield line, [cell.strip().strip("`").replace("\\|", "|") for cell in cells]


def questions() -> list[Question]:
    return [Question(line, *cells[1:4]) for line, cells in rows_below("Forty questions")]


def build(folder: Path) -> Settings:
    """Upload the demo and the other datasets of the page; return the settings of the lab."""
    unpack(folder)
    (folder / "tests").mkdir()
    (folder / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    settings = Settings(
        DatabaseSettings("sqlite", str(folder / "catalog.sqlite")),
        StoreSettings("local", str(folder / "store")),
    )
    demo = UploadSettings(frames_format="ome_tiff", microscope="Micro-Manager demo camera")
    upload(settings, demo, folder / "files_for_upload.csv")
    for _, (serial, source, microscope, description, kind) in rows_below("The lab"):
        if serial.startswith("DEMO-"):
            continue
        path = folder / f"{serial}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            row = (serial, folder / source, description)
            csv.writer(stream).writerows([("dataset_id", "file_name", "description"), row])
        upload(settings, UploadSettings(UploadType(kind), None, microscope or None), path)
    with ImagingDB(settings) as db:
        for _, (serial, tags, note) in rows_below("Tags and notes"):
            key, _, value = note.partition("=")
            db.dataset(serial).annotate(
                *tags.split(), author="ada", **({key: value} if key else {})
            )
    return settings


def upload(settings: Settings, how: UploadSettings, path: Path) -> None:
    lab = Settings(settings.database, settings.store, how)
    with contextlib.chdir(path.parent), ImagingDB(lab) as db:
        for report in db.upload(path):
            if report.error is not None:
                raise report.error


def answer(db: ImagingDB, query: str) -> str:
    """What the page shows of a query: how many frames of how many datasets."""
    found = db.frames(query)
    of_files = [one for one in found.datasets() if one.upload_type is UploadType.FILE]
    frames, datasets = len(found), len(list(found.datasets())) - len(of_files)
    parts = [f"{frames} frame{'s' * (frames != 1)} of {datasets}"] if frames else []
    parts += [f"{len(of_files)} of files"] if of_files else []
    return ", ".join(parts) or "none"


def main() -> None:
    """Write the results into the page."""
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, ImagingDB(build(Path(folder) / "lab")) as db:
        for one in questions():
            start, _, end = one.line.rpartition(f"| {one.result} |")
            text = text.replace(one.line, f"{start}| {answer(db, one.query)} |{end}")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
