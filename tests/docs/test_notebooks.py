"""The notebooks run from top to bottom on the demo, and are kept without outputs."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from imaging_db.cli.demo import unpack
from tests.support.documents import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with notebooks beside a demo, as after `make demo`."""
    unpack(tmp_path / "demo")
    command = [
        sys.executable,
        "-m",
        "imaging_db.cli.data_uploader",
        "--csv",
        "files_for_upload.csv",
    ]
    subprocess.run(command, cwd=tmp_path / "demo", check=True, capture_output=True)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def jupyter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of its own for Jupyter, with short paths: the names of sockets are limited."""
    folder = tempfile.mkdtemp(prefix="imdb-nb-")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(Path(folder, name.lower())))
    Path(folder, "jupyter_runtime_dir").mkdir(mode=0o700)
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    yield
    shutil.rmtree(folder, ignore_errors=True)


def test_the_first_notebook_finds_what_the_demo_uploaded(project: Path, jupyter: None) -> None:
    told = texts(run(ROOT / "notebooks" / "01_query.ipynb", project / "notebooks"))
    assert "['DEMO-2016-02-11-09-00-16-0001', 'DEMO-2016-02-11-09-00-16-0002']" in told
    assert "(8, (64, 64, 2, 2, 2), 'XYZTP')" in told
    assert any("exposure_ms" in text and "DAPI" in text for text in told)


def test_the_second_notebook_reads_a_stack_and_shows_it(project: Path, jupyter: None) -> None:
    book = run(ROOT / "notebooks" / "02_stack.ipynb", project / "notebooks")
    assert "({'X': 64, 'Y': 64, 'Z': 2, 'C': 2, 'T': 2, 'P': 4}, dtype('uint16'))" in texts(book)
    shown = [output for output in outputs(book) if "image/png" in output.get("data", {})]
    assert len(shown) == 1


def test_the_third_notebook_goes_from_a_question_to_a_figure_in_ten_lines(
    project: Path, jupyter: None
) -> None:
    book = run(ROOT / "notebooks" / "03_questions.ipynb", project / "notebooks")
    assert panels(book) == [4, 1]
    first = next(cell for cell in book.cells if figures_of(cell.get("outputs", ())))
    assert len(first.source.splitlines()) <= 10
    printed = "".join(output.text for output in outputs(book) if output.get("name") == "stdout")
    for told in (
        " 24 frames of 2 datasets: meta.Exposure-ms > 30\n",
        " 12 frames of 2 datasets: meta.Exposure-ms > 30 and meta.XPositionUm < 0\n",
        " 48 frames of 2 datasets: global.PixelSize_um = 1 and global.Slices >= 2\n",
        " 12 frames: repeat and t = first\n",
    ):
        assert told in printed


def test_the_fourth_notebook_shows_a_stack_a_time_lapse_and_a_mosaic(
    project: Path, jupyter: None
) -> None:
    book = run(ROOT / "notebooks" / "04_figures.ipynb", project / "notebooks")
    assert panels(book) == [6, 4, 1]
    assert "((128, 128), dtype('uint16'))" in texts(book)


def test_the_fifth_notebook_exports_and_reads_the_same_back(project: Path, jupyter: None) -> None:
    book = run(ROOT / "notebooks" / "05_export.ipynb", project / "notebooks")
    assert panels(book) == [3]
    printed = "".join(output.text for output in outputs(book) if output.get("name") == "stdout")
    assert printed.count(" is the same\n") == 4
    assert "differs" not in printed
    assert texts(book)[-1] == "True"
    exported = project / "demo" / "exports"
    assert sorted(path.name for path in exported.iterdir()) == [
        "DEMO-2016-02-11-09-00-16-0001.ome.zarr",
        "dapi",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_all_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_query",
        "02_stack",
        "03_questions",
        "04_figures",
        "05_export",
    ]


def run(path: Path, folder: Path) -> Any:
    """Return a notebook after all its cells were run in ``folder``."""
    from nbclient import NotebookClient
    from traitlets.config import Config

    book = nbformat.read(path, as_version=4)
    config = Config()
    if os.name != "nt":  # sockets in a folder: no port that another process may take first
        config.KernelManager.transport = "ipc"
        config.KernelManager.ip = str(Path(os.environ["JUPYTER_RUNTIME_DIR"], "socket"))
    client = NotebookClient(
        book,
        timeout=120,
        startup_timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        config=config,
    )
    done = client.execute()
    warned = [output.text for output in outputs(done) if output.get("name") == "stderr"]
    assert [text for text in warned if "building the font cache" not in text] == []
    return done


def outputs(book: Any) -> list[Any]:
    """Everything that the cells of a notebook gave."""
    return [output for cell in book.cells for output in cell.get("outputs", ())]


def texts(book: Any) -> list[str]:
    """What the cells of a notebook returned, as text."""
    return [output.data["text/plain"] for output in outputs(book) if "data" in output]


def figures_of(found: Any) -> list[Any]:
    """Those of some outputs that are figures of matplotlib."""
    return [output for output in found if "<Figure" in output.get("data", {}).get("text/plain", "")]


def panels(book: Any) -> list[int]:
    """How many panels each figure has; each is a picture with light and dark in every part of it."""
    found = figures_of(outputs(book))
    for figure in found:
        picture = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
        grey = np.asarray(picture.convert("L")).astype(float)
        assert min(grey.shape) > 250
        quarters = [part for half in np.array_split(grey, 2) for part in np.array_split(half, 2, 1)]
        assert min(float(np.ptp(part)) for part in quarters) > 100
    told = (re.search(r"with (\d+) Axes", one.data["text/plain"]) for one in found)
    return [int(one[1]) for one in told if one]
