"""The readers' contract for ``ome_tiff``, over real files and over what they have no example of."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging_db.readers.base import ReaderOptions, ReaderSpec
from imaging_db.readers.ome_tiff import SPEC
from imaging_db.testing.reader_contract import ReaderContract
from tests.support.corpus import DATA
from tests.support.mmstack import MMStack, beta_tag, images, summary_of, write_mm_stack
from tests.support.ometiff import ome, ome_image, planes, tiff_data, write_pages

SAMPLE = Path(__file__).parents[2] / "sample" / "acquisition"


def single(folder: Path) -> Path:
    return Path(shutil.copy(DATA / "ome_artificial" / "single-channel.ome.tif", folder))


def several_channels(folder: Path) -> Path:
    return Path(shutil.copy(DATA / "ome_artificial" / "multi-channel.ome.tif", folder))


def one_of_a_set_with_master(folder: Path) -> Path:
    shutil.copytree(DATA / "ome_multifile_master", folder, dirs_exist_ok=True)
    return folder / "multifile-Z3.ome.tiff"


def folder_with_companion(folder: Path) -> Path:
    shutil.copytree(DATA / "ome_multifile_companion", folder, dirs_exist_ok=True)
    return folder


def companion(folder: Path) -> Path:
    return folder_with_companion(folder) / "multifile.companion.ome"


def acquisition_folder(folder: Path) -> Path:
    for packed in SAMPLE.glob("*.ome.tif.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def one_position(folder: Path) -> Path:
    return acquisition_folder(folder) / "1.4compatTest_3_MMStack_1-Pos_001_000.ome.tif"


def interleaved_positions(folder: Path) -> Path:
    stack = MMStack(images(1, 1, 3, 2), summary=summary_of(1, 1, 3, 2), tag_of=beta_tag)
    return write_mm_stack(folder / "run_MMStack.ome.tif", stack)


def colour(folder: Path) -> Path:
    text = ome(ome_image(tiff_data(0, count=2), c=6, kind="uint8"))
    pages = planes(2, shape=(5, 6, 3), dtype="uint8")
    return write_pages(folder / "rgb.ome.tif", pages, text, photometric="rgb", compression="lzw")


def two_sizes(folder: Path) -> Path:
    small = ome_image(tiff_data(1), x=3, y=2, kind="uint8", name="thumb")
    text = ome(ome_image(tiff_data(0), kind="uint8"), small)
    pages = [planes(1, dtype="uint8")[0], planes(1, shape=(2, 3), dtype="uint8")[0]]
    return write_pages(folder / "two.OME.TIF", pages, text)


def tiled_floats(folder: Path) -> Path:
    text = ome(ome_image(tiff_data(), x=70, y=50, t=2, kind="float"))
    pages = planes(2, shape=(50, 70), dtype="float32")
    options = {"tile": (16, 32), "compression": "zlib", "predictor": True, "byteorder": ">"}
    return write_pages(folder / "tiles.ome.tiff", pages, text, bigtiff=True, **options)


MAKERS = (
    single,
    several_channels,
    one_of_a_set_with_master,
    folder_with_companion,
    companion,
    acquisition_folder,
    one_position,
    interleaved_positions,
    colour,
    two_sizes,
    tiled_floats,
)


class TestOmeTiff(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return SPEC

    @pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        folder = tmp_path / "source"
        folder.mkdir()
        make: Callable[[Path], Path] = request.param
        return make(folder)


class TestPickedPositions(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return SPEC

    @pytest.fixture
    def options(self) -> ReaderOptions:
        return ReaderOptions(positions=(3, 1))

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return acquisition_folder(tmp_path)
