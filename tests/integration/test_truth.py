"""Every real file that readers accept comes back with every pixel; every other is refused in one line.

The table of both is docs/formats.md. `python -m tests.integration.test_truth` writes it anew where the
whole corpus lies beside the project, and there the test compares all of it. A clone that stands alone
compares the small copies that travel with it. What they do not show is made on the spot, in every clone.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imaging_db import ImagingDB
from imaging_db.config import DatabaseSettings, StoreSettings
from imaging_db.model import StoredFrame
from tests.support.lab import Lab, build_lab, make_lab
from tests.support.made_sources import MADE, Made
from tests.torture.amount import daily

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
SMALL = ROOT / "tests" / "data"
FORMATS = ROOT / "docs" / "formats.md"
HEADER = "<!-- made by `python -m tests.integration.test_truth`; do not edit below this line -->\n"


@dataclass(frozen=True)
class Source:
    """One file or folder of the corpus, as a user would name it in a CSV."""

    dataset: str
    name: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.name}" if self.name else self.dataset


SOURCES = [
    Source(dataset, name)
    for dataset, names in {
        "mm14_multipos_ometiff": [
            "",
            *(f"1.4compatTest_3_MMStack_1-Pos_00{i}_00{j}.ome.tif" for i in (0, 1) for j in (0, 1)),
        ],
        "mm20alpha_separate_images": ["Pos0", ""],
        "ndtiff_v3_12bit_mda": [""],
        "ndtiff_v3_labeled_positions": [""],
        "ndtiff_v3_multichannel_tcz": [""],
        "ome_artificial": [
            "single-channel.ome.tif",
            "multi-channel.ome.tif",
            "z-series.ome.tif",
            "time-series.ome.tif",
            "multi-channel-z-series.ome.tif",
        ],
        "ome_multifile_master": ["", "multifile-Z1.ome.tiff", "multifile-Z3.ome.tiff"],
        "ome_multifile_companion": ["", "multifile.companion.ome", "multifile-Z5.ome.tiff"],
        "imagej_hyperstacks": [
            "multi_f.tiff",
            "xyz_8bit__mitotic_plate_calibrated.tiff",
            "zcyx.tiff",
            "zcyx_slice10.tiff",
            "zcyx_slice18.tiff",
        ],
        "imagej_still_stack": ["test_still.tif", "test_still_stack.tif"],
        "rgb_timelapse_folder": [""],
        "bigtiff_awaresystems": ["BigTIFF.tif", "BigTIFFLong.tif", "BigTIFFMotorola.tif"],
        "bigtiff_real_multipage": ["stack_probabilities.tiff"],
        "bigtiff_pyramid_tiled_ometiff": ["test.ome.tiff", "rename_test.ome.tiff"],
        "float32_tiffs": ["float32_10z_32y_40x.tiff", "qyx.tiff"],
        "float32_pillow": ["10ct_32bit_128.tiff"],
        "bits_12_in_16": ["12bit.cropped.tif", "12in16bit.tif", "16bit.MM.cropped.tif"],
        "leica_zstack_folder": [""],
        "foam_timelapse_folder": [""],
        "two_channel_well_folder": ["images"],
        "naming_trap_timeseries": ["", "channel1"],
        "mm_named_folder_zero_byte": ["", "img_000000000_Cy3_000.tif"],
        "nd2_czi_unsupported": ["cluster.nd2", "s_1_t_1_c_1_z_1.czi"],
        "omezarr_small": [""],
        "corrupt_pillow": [
            "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif",
            "crash-0e16d3bfb83be87356d026d66919deaefca44dac.tif",
            "crash-2020-10-test.tif",
            "crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif",
            "crash-86214e58da443d2b80820cff9677a38a33dcbbca.tif",
            "libtiff_segfault.tif",
            "multipage_multiple_frame_loop.tiff",
            "multipage_single_frame_loop.tiff",
            "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif",
            "seek_too_large.tif",
            "tiff_overflow_rows_per_strip.tif",
            "tiff_wrong_bits_per_sample.tiff",
            "total-pages-zero.tif",
        ],
    }.items()
    for name in names
]

NOT_IN_A_CLONE = {
    "ndtiff_v3_labeled_positions",
    "ndtiff_v3_multichannel_tcz",
    "ome_artificial/z-series.ome.tif",
    "ome_artificial/time-series.ome.tif",
    "ome_artificial/multi-channel-z-series.ome.tif",
    "imagej_hyperstacks/multi_f.tiff",
    "imagej_hyperstacks/xyz_8bit__mitotic_plate_calibrated.tiff",
    "imagej_hyperstacks/zcyx_slice18.tiff",
    "imagej_still_stack/test_still.tif",
    "imagej_still_stack/test_still_stack.tif",
    "rgb_timelapse_folder",
    "bigtiff_real_multipage/stack_probabilities.tiff",
    "bigtiff_pyramid_tiled_ometiff/test.ome.tiff",
    "bigtiff_pyramid_tiled_ometiff/rename_test.ome.tiff",
    "float32_tiffs/qyx.tiff",
    "leica_zstack_folder",
    "foam_timelapse_folder",
    "two_channel_well_folder/images",
    "naming_trap_timeseries",
    "naming_trap_timeseries/channel1",
    "mm_named_folder_zero_byte",
    "mm_named_folder_zero_byte/img_000000000_Cy3_000.tif",
    "nd2_czi_unsupported/cluster.nd2",
    "nd2_czi_unsupported/s_1_t_1_c_1_z_1.czi",
    "omezarr_small",
    "corrupt_pillow/tiff_overflow_rows_per_strip.tif",
    "corrupt_pillow/total-pages-zero.tif",
}
"""What is too large to travel with the tests, or travels as a part of its folder."""

HERE = [s for s in SOURCES if SHARED.is_dir() or str(s) not in NOT_IN_A_CLONE]
"""What must be here: a file that is not fails its test."""

PIECES = {
    Source("leica_zstack_folder", ""): "1 frames, c1 z1 t1 p1, uint8 as png",
    Source("naming_trap_timeseries", ""): "4 frames, c2 z1 t2 p1, uint16 as png",
    Source("naming_trap_timeseries", "channel1"): "2 frames, c1 z1 t2 p1, uint16 as png",
}
"""Parts of real folders, and what comes of them."""


class Corpus:
    """The real files: the whole corpus where it lies beside the project, else the small copies."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self._folder = folder
        self._scratch = scratch
        self.truth = _truth(folder / "TRUTH.csv") | _truth(folder / "TRUTH_TIF.csv")
        self._pixels = _pixel_hashes(folder / "FRAMES.csv")

    def path(self, source: Source) -> Path:
        """Where a source lies; gzipped files are unpacked."""
        dataset = self._folder / source.dataset
        if source.dataset == "mm14_multipos_ometiff" and not dataset.exists():
            dataset = ROOT / "sample" / "acquisition"
        if list(dataset.glob("*.gz")):
            dataset = self._unpacked(dataset)
        found = dataset / source.name
        assert found.is_file() or any(found.iterdir()), f"{source} is not here"
        return found

    def pixels(self, source: Source) -> Counter[str]:
        """The hashes of all pages of a source; empty where nothing is known of it."""
        found: Counter[str] = Counter()
        for (dataset, file), hashes in self._pixels.items():
            if dataset == source.dataset and _is_below(file, source.name):
                found += hashes
        return found

    def _unpacked(self, folder: Path) -> Path:
        target = self._scratch / folder.name
        if not target.exists():
            target.mkdir(parents=True)
            for packed in folder.glob("*.gz"):
                with gzip.open(packed) as stream, (target / packed.stem).open("wb") as out:
                    shutil.copyfileobj(stream, out)
        return target


def _is_below(file: str, name: str) -> bool:
    return not name or file == name or file.startswith(f"{name}/")


def _rows(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            yield from csv.DictReader(stream)


def _truth(path: Path) -> dict[tuple[str, str, int], dict[str, str]]:
    return {
        (row["dataset"], row["file"].removesuffix(".gz"), int(row["page"])): row
        for row in _rows(path)
    }


def _pixel_hashes(path: Path) -> dict[tuple[str, str], Counter[str]]:
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in _rows(path):
        found.setdefault((row["dataset"], row["file"]), Counter())[row["sha256_pixels_le"]] += 1
    return found


@pytest.fixture(scope="session")
def corpus(shared_data: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(shared_data or SMALL, tmp_path_factory.mktemp("corpus"))


def check_truth(rows: list[dict[str, str]], frames: list[StoredFrame]) -> None:
    """Every row of truth is one frame at its place; labels are found, and mapped one to one."""
    assert len(rows) == len(frames)
    assert Counter(r["sha256_pixels_le"] for r in rows) == Counter(f.sha256 for f in frames)
    by_hash: dict[tuple[str | None, int, int], list[StoredFrame]] = {}
    for frame in frames:
        by_hash.setdefault((frame.sha256, frame.coords.slice, frame.coords.timepoint), []).append(
            frame
        )
    channels: dict[str, int] = {}
    positions: dict[str, int] = {}
    for row in rows:
        if not any(row[name] for name in ("pos", "c", "z", "t")):
            continue  # a plain file: only its pixels are known
        z, t = int(row["z"] or 0), int(row["t"] or 0)
        matching = [f for f in by_hash[row["sha256_pixels_le"], z, t] if _labelled(row, f)]
        assert matching, f"no frame for {row}"
        for labels, key, index in (
            (channels, row["c"] or "0", matching[0].coords.channel),
            (positions, row["pos"] or "0", matching[0].coords.position),
        ):
            if len(matching) == 1:
                assert labels.setdefault(key, index) == index, (row, matching[0])
    for labels in (channels, positions):
        assert len(set(labels.values())) == len(labels), "two labels share an index"


def _labelled(row: dict[str, str], frame: StoredFrame) -> bool:
    channel, position = row["c"], row["pos"]
    right = not channel.isdigit() or int(channel) == frame.coords.channel
    right &= not position.isdigit() or int(position) == frame.coords.position
    if row["cname"]:
        right &= frame.channel_name == row["cname"]
    if row["posname"] and not position.isdigit():
        right &= frame.position_name == row["posname"]
    return right


def truth_of(corpus: Corpus, source: Source) -> list[dict[str, str]]:
    """The rows of truth that a source should give: its own pages, or those of its whole set."""
    whole = source.dataset.startswith("ome_multifile")
    return [
        row
        for (dataset, file, _), row in corpus.truth.items()
        if dataset == source.dataset and (whole or _is_below(file, source.name))
    ]


@dataclass
class Told:
    """What came of a source: a line of the table."""

    source: Source
    format: str
    outcome: str

    def line(self) -> str:
        return f"| `{self.source}` | {self.format} | {self.outcome} |\n"


def try_source(lab: Lab, corpus: Corpus, source: Source, path: Path) -> Told:
    """Upload and download one source, check every pixel, and say what came of it."""
    (report,) = lab.upload(path)
    if report.error is not None:
        text = str(report.error)
        assert report.error.exit_code == 4, text
        assert "\n" not in text
        assert lab.keys() == []
        refusal = text.replace(str(path), source.name or source.dataset)
        return Told(source, "", "refused: " + refusal.replace("|", "\\|"))
    assert lab.download().written == report.nbr_objects
    with ImagingDB(lab.settings) as db:
        frames = list(db.dataset(lab.serial()).frames())
        found = db.dataset(lab.serial()).acquisition
    assert lab.frames_on_disk() == {frame.coords: frame.sha256 for frame in frames}
    rows = truth_of(corpus, source)
    if rows:
        check_truth(rows, frames)
    elif pages := corpus.pixels(source):
        assert Counter(frame.sha256 for frame in frames) == pages
    codecs = " and ".join(sorted({frame.codec or "" for frame in frames}))
    size = (
        f"c{found.nbr_channels} z{found.nbr_slices} t{found.nbr_timepoints} p{found.nbr_positions}"
    )
    return Told(source, found.format, f"{len(frames)} frames, {size}, {found.dtype} as {codecs}")


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """What travels with the tests, also where the whole corpus is there."""
    return Corpus(SMALL, tmp_path_factory.mktemp("pieces"))


def in_each_lab(name: str, sources: Collection[object]) -> pytest.MarkDecorator:
    """All sources in SQLite and a folder; every fourth in PostgreSQL and S3, all in `make torture`."""
    pairs = [pytest.param(one, "sqlite+local", id=f"{one}-sqlite+local") for one in sources]
    far = [pytest.param(one, "postgres+moto", id=f"{one}-postgres+moto") for one in sources]
    return pytest.mark.parametrize(
        (name, "either_lab"), [*pairs, *daily(far, 4)], indirect=["either_lab"]
    )


@pytest.fixture
def either_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """What a newcomer has, and what a facility has."""
    return build_lab(request.param, request.getfixturevalue, tmp_path)


@pytest.mark.fault("I-1", "I-2", "I-9", "I-11")
@in_each_lab("source", HERE)
def test_every_source_comes_back_exactly_or_is_refused(
    source: Source, either_lab: Lab, corpus: Corpus
) -> None:
    told = try_source(either_lab, corpus, source, corpus.path(source))
    assert told.line() in FORMATS.read_text(encoding="utf-8"), "docs/formats.md says otherwise"


@in_each_lab("source", PIECES)
def test_a_part_of_a_folder_comes_back_exactly(
    source: Source, either_lab: Lab, pieces: Corpus
) -> None:
    assert truth_of(pieces, source)
    told = try_source(either_lab, pieces, source, pieces.path(source))
    assert told.outcome == PIECES[source]


@pytest.mark.fault("I-5")
@in_each_lab("made", MADE)
def test_what_was_made_comes_back_exactly_or_is_refused(
    made: Made, either_lab: Lab, pieces: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "sources" / made.name
    path.parent.mkdir()
    truth = made.make(path)
    told = try_source(either_lab, pieces, Source(made.name, ""), path)
    assert told.outcome == made.outcome
    if truth:
        assert either_lab.frames_on_disk() == truth


def test_the_second_s3_server_gives_the_same(
    corpus: Corpus, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = Source("ndtiff_v3_12bit_mda", "")
    lab = build_lab("postgres+rclone", request.getfixturevalue, tmp_path)
    assert "8 frames" in try_source(lab, corpus, source, corpus.path(source)).outcome


def make_table(corpus: Corpus, scratch: Path) -> str:
    """The table of docs/formats.md."""
    lines = ["| source | read by | what came of it |\n", "|---|---|---|\n"]
    for index, source in enumerate(SOURCES):
        folder = scratch / str(index)
        store = StoreSettings("local", str(folder / "store"))
        lab = make_lab(DatabaseSettings("sqlite", str(folder / "catalog.sqlite")), store, folder)
        lines.append(try_source(lab, corpus, source, corpus.path(source)).line())
    return "".join(lines)


def main() -> None:
    """Write the table anew below the header line of docs/formats.md."""
    if not SHARED.is_dir():
        raise SystemExit(f"{SHARED} is not here; the whole corpus is needed")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        corpus = Corpus(SHARED, scratch / "unpacked")
        table = make_table(corpus, scratch)
    above = FORMATS.read_text(encoding="utf-8").partition(HEADER)[0]
    FORMATS.write_text(above + HEADER + "\n" + table, encoding="utf-8")
    sys.stdout.write(table)


if __name__ == "__main__":
    main()
