"""The readers' contract for ``ndtiff``, ``tif_folder`` and ``tif_id``, and real files page by page.

Pixels, indices and names of each page are compared with what is known of it.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tifffile

from imaging_db.errors import ReaderError
from imaging_db.model import FrameCoords, SourceFrame, sha256_of_pixels
from imaging_db.readers import registry
from imaging_db.readers.base import Reader, ReaderOptions, ReaderSpec
from imaging_db.testing.reader_contract import ReaderContract
from tests.support.acquisitions import imagej_stack, pixels, tif_folder
from tests.support.corpus import DATA, truth
from tests.support.ndtiff import write_ndtiff

FORMATS = {"ndtiff_": "ndtiff", "imagej_": "tif_id", "float32_": "tif_id", "bigtiff_r": "tif_id"}
FOLDERS = {
    "foam_timelapse_folder": (9, FrameCoords(0, 0, 8, 0)),
    "leica_zstack_folder": (3, FrameCoords(0, 2, 0, 0)),
    "naming_trap_timeseries": (102, FrameCoords(2, 0, 50, 0)),
    "rgb_timelapse_folder": (12, FrameCoords(0, 0, 11, 0)),
    "two_channel_well_folder": (3, FrameCoords(2, 0, 0, 0)),
    "mm20alpha_separate_images": (1, FrameCoords(0, 0, 0, 0)),
}


def open_with(name: str, path: Path) -> Reader:
    return registry.get(name).open(path, ReaderOptions())


def hashes(reader: Reader) -> dict[str, str]:
    """The pixel hash of each frame by file and page, read from several threads."""

    def read(frame: SourceFrame) -> tuple[str, str]:
        return f"{frame.source.path.name}:{frame.source.page}", sha256_of_pixels(reader.read(frame))

    with ThreadPoolExecutor(4) as threads:
        return dict(threads.map(read, list(reader.frames())))


def check_pages(folder: Path, table: str) -> int:
    """Compare every file of a truth table that one of these readers takes; returns the pages."""
    count = 0
    for (dataset, file), rows in truth(folder, table).items():
        name = next((n for start, n in FORMATS.items() if dataset.startswith(start)), None)
        if name is None:
            continue
        with open_with(name, folder / dataset / file) as reader:
            found = {frame.source.page: frame for frame in reader.frames()}
            assert sorted(found) == [int(row["page"]) for row in rows]
            for page, row in enumerate(rows):
                check_frame(reader, found[page], row)
        count += len(rows)
    return count


def check_frame(reader: Reader, frame: SourceFrame, row: dict[str, str]) -> None:
    assert sha256_of_pixels(reader.read(frame)) == row["sha256_pixels_le"], (frame.source, row)
    assert "x".join(map(str, frame.shape)) == row["shape"]
    assert frame.dtype == row["dtype"]
    if row.get("z"):
        assert (frame.coords.slice, frame.coords.timepoint) == (int(row["z"]), int(row["t"]))
    if row.get("c", "").isdigit():
        assert (frame.coords.channel, frame.coords.position) == (int(row["c"]), int(row["pos"]))
    if row.get("cname") or row.get("posname"):
        assert (frame.channel_name or "", frame.position_name or "") == (
            row["cname"],
            row["posname"],
        )


def test_every_page_of_the_small_copies() -> None:
    assert check_pages(DATA, "TRUTH_TIF.csv") == 60


@pytest.mark.parametrize("table", ["TRUTH.csv", "FRAMES.csv"])
def test_every_page_of_the_corpus(shared_data: Path | None, table: str) -> None:
    if shared_data is None:
        assert check_pages(DATA, "TRUTH_TIF.csv") == 60
    else:
        assert check_pages(shared_data, table) >= 330


def test_no_frame_is_lost_though_contents_repeat(shared_data: Path | None) -> None:
    """Demo cameras repeat frames: 256 places, 16 contents."""
    folder = (shared_data or DATA) / "ndtiff_v3_multichannel_tcz"
    if not folder.is_dir():
        folder = DATA / "ndtiff_v3_12bit_mda"
    with registry.find(folder).open(folder, ReaderOptions()) as reader:
        frames = list(reader.frames())
        assert (
            len({frame.coords for frame in frames}) == len(frames) == reader.acquisition.nbr_frames
        )
        assert len(hashes(reader)) == len(frames)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_the_corpus(shared_data: Path | None, name: str) -> None:
    """A folder is recognised, and its frames are the pages of its files."""
    source = shared_data or DATA
    folder = source / name if (source / name).is_dir() else DATA / "naming_trap_timeseries"
    table = "FRAMES.csv" if shared_data else "TRUTH_TIF.csv"
    wanted = {
        f"{Path(file).name}:{row['page']}": row["sha256_pixels_le"]
        for (dataset, file), rows in truth(source, table).items()
        if dataset == folder.name
        for row in rows
    }
    spec = registry.find(folder)
    assert spec.name == "tif_folder"
    with spec.open(folder, ReaderOptions()) as reader:
        assert hashes(reader) == wanted
        frames = list(reader.frames())
    assert len({frame.coords for frame in frames}) == len(wanted)
    if shared_data:
        assert (len(frames), max(frame.coords for frame in frames)) == FOLDERS[name]


def test_a_folder_of_empty_files_is_refused(shared_data: Path | None, tmp_path: Path) -> None:
    folder = (shared_data or tmp_path) / "mm_named_folder_zero_byte"
    if shared_data is None:
        folder.mkdir()
        whole = next((DATA / "mm20alpha_separate_images" / "Pos0").glob("*.tif"))
        shutil.copy(whole, folder / "img_000000000_Cy3_000.tif")
        for number in range(1, 20):
            (folder / f"img_000000000_Cy3_{number:03d}.tif").touch()
    cause = r"Cy3_001\.tif: is empty \(0 bytes\), and 18 others of 20 files too"
    with pytest.raises(ReaderError, match=cause):
        registry.find(folder).open(folder, ReaderOptions())


def pieces_of_the_corpus(shared_data: Path | None) -> list[Path]:
    source = shared_data or DATA
    names = ("imagej_hyperstacks/*.tif*", "imagej_still_stack/*.tif", "float32_*/*.tif*")
    return [path for name in names for path in sorted(source.glob(name))]


def test_truncated_stacks_are_refused(shared_data: Path | None, tmp_path: Path) -> None:
    for path in pieces_of_the_corpus(shared_data):
        whole = path.read_bytes()
        cut = tmp_path / path.name
        for part in range(1, 40):
            cut.write_bytes(whole[: len(whole) * part // 40])
            with pytest.raises(ReaderError), open_with("tif_id", cut) as reader:
                hashes(reader)


def test_one_file_less_is_noticed(shared_data: Path | None, tmp_path: Path) -> None:
    """Any file but the first and the last of a series, which nothing else tells of."""
    source = shared_data or DATA
    for name in ("leica_zstack_folder", "rgb_timelapse_folder", "naming_trap_timeseries"):
        files = sorted((source / name).rglob("*.tif"))
        if len(files) < 3:
            continue
        folder = tmp_path / name
        shutil.copytree(source / name, folder)
        (folder / files[1].relative_to(source / name)).unlink()
        with pytest.raises(ReaderError, match=r"missing|skip"):
            registry.find(folder).open(folder, ReaderOptions())


def colour_pages(path: Path) -> Path:
    data = pixels(3, 12, 10, 3, dtype="uint8")
    tifffile.imwrite(path, data, photometric="rgb", metadata=None, compression="lzw")
    return path


def signed_tiles(path: Path) -> Path:
    data = pixels(2, 50, 70, dtype="int16")
    options = {"tile": (16, 32), "compression": "zlib", "predictor": True, "byteorder": ">"}
    tifffile.imwrite(path, data, bigtiff=True, metadata={"axes": "TYX"}, **options)
    return path


def hyperstack(path: Path) -> Path:
    imagej_stack(path)
    return path


class TestTifId(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return registry.get("tif_id")

    @pytest.fixture(params=["hyperstack", "colours", "tiles", "zcyx.tiff", "zcyx_slice10.tiff"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        makers = {"hyperstack": hyperstack, "colours": colour_pages, "tiles": signed_tiles}
        if request.param in makers:
            return makers[request.param](tmp_path / f"{request.param}.tif")
        return DATA / "imagej_hyperstacks" / str(request.param)


class TestTifFolder(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return registry.get("tif_folder")

    @pytest.fixture(
        params=["named", "stacks", "naming_trap_timeseries", "mm20alpha_separate_images"]
    )
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        if request.param == "named":
            tif_folder(tmp_path / "named")
            return tmp_path / "named"
        if request.param == "stacks":
            for position in (0, 1):
                (tmp_path / f"Pos{position}").mkdir()
                imagej_stack(tmp_path / f"Pos{position}" / "cells.tif", seed=position)
            return tmp_path
        return DATA / str(request.param)


class TestTifFolderWithParser(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return registry.get("tif_folder")

    @pytest.fixture
    def options(self) -> ReaderOptions:
        return ReaderOptions(positions=(0,), filename_parser="parse_sms_name")

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        tif_folder(tmp_path / "named")
        return tmp_path / "named"


class TestNDTiff(ReaderContract):
    @pytest.fixture
    def spec(self) -> ReaderSpec:
        return registry.get("ndtiff")

    @pytest.fixture(params=["ndtiff_v3_12bit_mda", "one stack", "pyramid", "without index"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        real = DATA / "ndtiff_v3_12bit_mda"
        if request.param == "one stack":
            return next(real.glob("*.tif"))
        if request.param == "pyramid":
            tiles = [({"row": r, "column": c}, pixels(6, 8)) for r in (0, 1) for c in (0, 1)]
            write_ndtiff(tmp_path / "Full resolution", tiles, version=2, per_file=3)
            return tmp_path
        if request.param == "without index":
            shutil.copy(next(real.glob("*.tif")), tmp_path)
            return tmp_path
        return real
