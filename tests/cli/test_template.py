"""imaging-db template: what it writes is accepted by data_uploader once it is filled in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from imaging_db.cli import data_uploader
from imaging_db.cli import main as imaging_db_command
from imaging_db.cli.demo import unpack
from imaging_db.config.manifest import COLUMNS
from imaging_db.config.templates import MEANINGS
from tests.support.acquisitions import imagej_stack

UPLOAD, FIELDS, DOCUMENT = (
    "upload_template.csv",
    "metadata_template.csv",
    "metadata_template.json",
)


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the demo, whose config names a schema, as the working folder."""
    folder = tmp_path / "demo"
    unpack(folder)
    monkeypatch.chdir(folder)
    config = json.loads(Path("config.json").read_text())
    Path("config.json").write_text(json.dumps(config | {"meta_schema": "metadata_schema.json"}))
    return folder


def filled(path: Path, **cells: str) -> None:
    """Add a row to a CSV under its own header."""
    with path.open("r+", newline="", encoding="utf-8") as stream:
        header = next(csv.reader(stream))
        stream.seek(0, 2)
        csv.DictWriter(stream, header).writerow(cells)


def test_a_template_that_is_filled_in_can_be_uploaded(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imaging_db_command.main(["template", "--out", "forms"]) == 0
    assert sorted(path.name for path in Path("forms").iterdir()) == sorted(
        (UPLOAD, FIELDS, DOCUMENT)
    )
    path = Path("forms", UPLOAD)
    assert data_uploader.main(["--csv", str(path), "--dry-run"]) == 2
    assert "has a header and no rows" in capsys.readouterr().err
    source = next(
        line.split(",")[1] for line in Path("files_for_upload.csv").read_text().split("\n")[1:]
    )
    filled(path, dataset_id="A-2024-03-01-14-30-00-0001", file_name=source, positions="[0, 2]",
           description='"first", day')  # fmt: skip
    assert data_uploader.main(["--csv", str(path), "--dry-run"]) == 0
    assert "16 frames" in capsys.readouterr().out


def test_metadata_that_lacks_a_field_of_the_template_is_refused(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imaging_db_command.main(["template"])
    with Path(FIELDS).open(newline="", encoding="utf-8") as stream:
        needed = [row["field"] for row in csv.DictReader(stream) if row["needed"] == "yes"]
    assert "MicroManagerMetadata.Channel" in needed
    config = json.loads(Path("config.json").read_text())
    Path("config.json").write_text(json.dumps(config | {"frames_format": "tif_id"}))
    imagej_stack(demo / "a.tif", seed=1)
    filled(Path(UPLOAD), dataset_id="A-2024-03-01-14-30-00-0001", file_name="a.tif")
    capsys.readouterr()
    assert data_uploader.main(["--csv", UPLOAD, "--dry-run"]) == 4
    assert "MicroManagerMetadata" in capsys.readouterr().err


def test_files_have_no_positions(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("files.json").write_text('{"upload_type": "file"}')
    assert imaging_db_command.main(["template", "--config", "files.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"files": [UPLOAD], "notes": []}
    assert Path(UPLOAD).read_text() == "dataset_id,file_name,description,parent_dataset_id\n"
    filled(Path(UPLOAD), dataset_id="A-2024-03-01-14-30-00-0001", file_name="README.md")
    Path("README.md").write_text("x")
    words = ["--csv", UPLOAD, "--config", "files.json", "--dry-run"]
    assert data_uploader.main(words) == 0


def test_what_was_filled_in_is_never_replaced(
    demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imaging_db_command.main(["template"]) == 0
    assert imaging_db_command.main(["template"]) == 0  # they are the same still
    Path(FIELDS).unlink()
    filled(Path(UPLOAD), dataset_id="A-2024-03-01-14-30-00-0001")
    capsys.readouterr()
    assert imaging_db_command.main(["template"]) == 7
    assert f"{UPLOAD} is there already, and is another; take it away" in capsys.readouterr().err
    assert not Path(FIELDS).exists()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ('{"type": 5}', "not a JSON Schema"),
        ("[]", "an object {...} is needed"),
        ("{", "mend the JSON"),
    ],
)
def test_a_file_that_is_no_schema_is_refused(
    demo: Path, capsys: pytest.CaptureFixture[str], content: str, cause: str
) -> None:
    Path("schema.json").write_text(content)
    assert imaging_db_command.main(["template", "--schema", "schema.json"]) == 2
    assert cause in capsys.readouterr().err
    assert not Path(UPLOAD).exists()


def test_every_column_is_explained() -> None:
    assert tuple(MEANINGS) == COLUMNS
