"""The demo is the main job, on a real acquisition, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaging_db.cli import main as imaging_db_command
from imaging_db.cli.demo import SERIAL

ROOT = Path(__file__).parents[2]


def test_the_demo_uploads_queries_downloads_and_verifies(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever database the person who tries it works with otherwise: it is not touched."""
    monkeypatch.setenv("IMAGING_DB_LOGIN", str(tmp_path / "mine.json"))
    (tmp_path / "mine.json").write_text('{"drivername": "sqlite", "dbname": "mine.sqlite"}')
    folder = tmp_path / "the demo"
    assert imaging_db_command.main(["demo", str(folder)]) == 0
    told = capfd.readouterr()
    assert told.err == ""
    for text in ("2 uploaded", "2 datasets", "4 frames", "every hash agrees", "2 already there"):
        assert text in told.out
    assert len(list((folder / "downloads" / SERIAL).glob("*.png"))) == 4
    assert not (tmp_path / "mine.sqlite").exists()
    assert imaging_db_command.main(["demo", str(folder)]) == 0, "a second time"


def test_a_folder_in_use_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert imaging_db_command.main(["demo", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_sample_reserves_space_that_it_does_not_fill(tmp_path: Path) -> None:
    from imaging_db.cli.demo import unpack

    unpack(tmp_path / "demo")
    stack = next((tmp_path / "demo").rglob("*000_000.ome.tif"))
    assert stack.stat().st_size == 10_602_422


@pytest.mark.parametrize("name", ["config.json", "metadata_schema.json", "files_for_upload.csv"])
def test_the_examples_at_the_top_are_those_of_the_demo(name: str) -> None:
    ours = (ROOT / name).read_text().replace("demo/sample/", "sample/")
    assert ours == (ROOT / "sample" / name).read_text()


def test_init_makes_catalog_and_store_and_may_be_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGING_DB_HOME", str(tmp_path / "lab"))
    for _ in range(2):
        assert imaging_db_command.main(["init"]) == 0
    assert (tmp_path / "lab" / "catalog.sqlite").is_file()
    assert (tmp_path / "lab" / "store").is_dir()
    assert "catalog.sqlite" in capsys.readouterr().out
