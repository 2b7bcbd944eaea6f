"""README and how-tos do what they say: their commands and their Python are run."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imaging_db.cli.demo import unpack
from imaging_db.config.settings import DatabaseSettings, StoreSettings
from tests.support.commands import UPLOADER, Commands
from tests.support.documents import ROOT, Block, Desk, blocks_of, steps_of
from tests.support.legacy import OF_2019, OriginalDatabase

HOW_TO = ROOT / "docs" / "how-to"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The folder of the demo as it is before its first command."""
    folder = tmp_path / "demo"
    unpack(folder)
    return folder


@pytest.fixture
def demo_done(demo: Path, commands: Commands) -> Path:
    """The folder of the demo with its datasets uploaded."""
    done = commands.run(UPLOADER, ["--csv", "files_for_upload.csv"], cwd=demo)
    assert done.code == 0, done.told
    return demo


def test_the_readme_shows_what_the_demo_prints(demo: Path, commands: Commands) -> None:
    assert Desk(demo, commands).run(ROOT / "README.md") >= 8


@pytest.mark.parametrize(
    "name",
    [
        "upload-your-data.md",
        "download-a-selection.md",
        "clean-up.md",
        "check-and-repair.md",
        "read-arrays.md",
        "look-at-quality.md",
        "annotate.md",
        "export.md",
        "publish.md",
        "napari.md",
        "ingest.md",
        "ingest-boss.md",
    ],
)
def test_how_tos_run_in_the_folder_of_the_demo(
    name: str, demo_done: Path, commands: Commands
) -> None:
    assert Desk(demo_done, commands).run(HOW_TO / name) >= 3


def test_the_page_of_queries_runs_in_the_folder_of_the_demo(
    demo_done: Path, commands: Commands
) -> None:
    assert Desk(demo_done, commands).run(ROOT / "docs" / "queries.md") >= 2


def test_the_reader_of_the_how_to_works_once_it_is_installed(
    demo_done: Path, commands: Commands
) -> None:
    document = HOW_TO / "write-a-reader.md"
    installed = demo_done / "numpy_reader"
    install_without_network(document, installed)
    found = {"PYTHONPATH": str(installed)}
    assert Desk(demo_done, commands, environment=found).run(document) >= 8
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [*command, "--rootdir", str(installed), "-c", os.devnull, str(installed)],
        cwd=installed,
        env={**os.environ, **found},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def install_without_network(document: Path, folder: Path) -> None:
    """Write what pip would: the name of the package and its entry points, beside its module."""
    (text,) = (block.text for block in blocks_of(document) if block.language == "toml")
    project = tomllib.loads(text)["project"]
    information = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines: list[str] = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


def test_the_way_to_postgresql_and_s3(
    demo_done: Path,
    commands: Commands,
    postgres_settings: DatabaseSettings,
    s3_bucket: StoreSettings,
) -> None:
    desk = Desk(
        demo_done,
        commands,
        values={
            "group/db_credentials.json": login_of(postgres_settings),
            "group/config.json": {
                "storage_access": s3_bucket.access,
                "endpoint_url": s3_bucket.endpoint_url,
            },
        },
        names=postgres_names(postgres_settings)
        | {str(s3_bucket.endpoint_url): "http://s3.lab.example:8333", s3_bucket.access: "imaging"},
    )
    assert desk.run(HOW_TO / "postgresql-and-s3.md") >= 4


def test_the_way_from_imagingdb(
    tmp_path: Path,
    commands: Commands,
    postgres_settings: DatabaseSettings,
    request: pytest.FixtureRequest,
) -> None:
    database = OriginalDatabase(postgres_settings, OF_2019, revision="8e0d2514fd1f")
    request.addfinalizer(database.close)
    database.fill()
    desk = Desk(
        tmp_path,
        commands,
        values={"db_credentials.json": login_of(postgres_settings)},
        names=postgres_names(postgres_settings),
    )
    assert desk.run(HOW_TO / "upgrade-from-imagingdb.md") >= 4


def test_every_how_to_is_tried() -> None:
    tried = {
        "read-arrays.md",
        "upload-your-data.md",
        "download-a-selection.md",
        "clean-up.md",
        "write-a-reader.md",
        "postgresql-and-s3.md",
        "upgrade-from-imagingdb.md",
        "check-and-repair.md",
        "annotate.md",
        "publish.md",
        "export.md",
        "look-at-quality.md",
        "napari.md",
        "ingest.md",
        "ingest-boss.md",
        "ingest-on-a-cluster.md",
    }
    assert {path.name for path in HOW_TO.glob("*.md")} == tried


def login_of(settings: DatabaseSettings) -> dict[str, Any]:
    """What a login file says to reach a test's database."""
    return {
        name: getattr(settings, name) for name in ("dbname", "username", "password", "host", "port")
    }


def postgres_names(settings: DatabaseSettings) -> dict[str, str]:
    """How the documents call a test's database."""
    return {settings.address: "postgresql://imaging@db.lab.example:5432/imaging"}


# --- the desk itself: a document that lies must not pass


@pytest.fixture
def tried(tmp_path: Path, commands: Commands) -> Callable[[str], int]:
    def run(text: str) -> int:
        path = tmp_path / "document.md"
        path.write_text(text)
        return Desk(tmp_path, commands).run(path)

    return run


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ imaging-db --version\nimaging_db 9.9\n```\n",
        "```console\n$ imaging-db stores\nlocal\n```\n",
        "```console\n$ imaging-db stores\n...\nfloppy\n```\n",
        "```console\n$ imaging-db nonsense\n...\n```\n",
        "```console\n$ imaging-db stores\n...\n$ echo $?\n4\n```\n",
        "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n",
        "```python\nx = 1\n```\n\n```text\n1\n```\n",
        "```python\nassert False\n```\n",
        "```console\n$ rm -rf /nowhere\n```\n",
    ],
)
def test_a_document_that_lies_is_found_out(tried: Callable[[str], int], text: str) -> None:
    with pytest.raises(AssertionError):
        tried(text)


def test_what_a_document_may_leave_out(tried: Callable[[str], int]) -> None:
    assert tried("```console\n$ imaging-db stores\n...\ns3\n```\n") == 1
    assert tried("```console\n$ imaging-db nonsense\n...\n$ echo $?\n2\n```\n") == 1
    assert tried("```python\nx = 2\n```\nand\n```python\nprint(x)\n```\n```text\n2\n```\n") == 3
    assert tried("```sh\nmake coffee\n```\n") == 0


def test_blocks_and_steps(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("x\n```json file=a.json\n{}\n```\n```console\n$ a \\\n  b\nc\n```\n")
    first, second = blocks_of(path)
    assert first == Block("json", {"file": "a.json"}, ("{}",), 2)
    (step,) = steps_of(second)
    assert (step.command, step.shown, step.code) == ("a b", ("c",), 0)
