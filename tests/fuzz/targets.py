"""What is fuzzed: each target takes bytes, and may raise our own errors only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tifffile

from imaging_db.codecs import decode_frame
from imaging_db.config import load_settings, read_manifest
from imaging_db.errors import ImagingDBError, InvalidDatasetId
from imaging_db.model import DatasetId, FrameSelection, clean_json
from imaging_db.readers import registry
from imaging_db.readers.base import ReaderOptions, ReadLimits
from imaging_db.readers.filename_parsers import available_parsers, get_parser
from imaging_db.readers.filename_patterns import parse_folder_names, parse_names
from imaging_db.readers.imagej import imagej_order, imagej_values, parse_shaped, shaped_order
from imaging_db.readers.json_text import parse_json
from imaging_db.readers.micro_manager_text import read_metadata_text
from imaging_db.readers.ndtiff_index import read_index
from imaging_db.readers.ome_xml import parse_ome_xml
from imaging_db.readers.torn_text import torn
from imaging_db.stores.base import check_key
from tests.support.corpus import DATA

_LIMITS = ReadLimits(max_frame_bytes=64 * 2**20, max_frames=100_000, max_metadata_bytes=2**20)
_SHARED = DATA.parents[2] / "shared" / "data"
_MOST_PIXELS = 200
_ONE = "LAB-2020-01-02-03-04-05-0001"


@dataclass(frozen=True)
class Target:
    """``run`` takes bytes and a folder to write in; ``refuses`` are further errors that it promises."""

    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Iterable[bytes]]
    refuses: tuple[type[Exception], ...] = ()


def corpus(*patterns: str, most: int = 140_000) -> list[bytes]:
    """The small files of the corpus with such names."""
    folders = [folder for folder in (DATA, _SHARED) if folder.is_dir()]
    paths = [path for folder in folders for pattern in patterns for path in folder.rglob(pattern)]
    return list({p.read_bytes(): None for p in sorted(paths) if 0 < p.stat().st_size <= most})[:80]


def descriptions() -> list[bytes]:
    """The texts that the TIFF files of the corpus carry."""
    found: dict[bytes, None] = {}
    for path in sorted(DATA.rglob("*.tif*")):
        with suppress(Exception), tifffile.TiffFile(path) as file:
            for tag in file.pages[0].tags.values():  # type: ignore[union-attr]
                if isinstance(tag.value, str) and tag.count > 20:
                    found[tag.value.encode()] = None
                elif isinstance(tag.value, dict):
                    found[json.dumps(tag.value, default=str).encode()] = None
    return list(found)


def _tiff(data: bytes, folder: Path) -> None:
    path = folder / "x.tif"
    path.write_bytes(data)
    for name in (None, "tif_id"):
        with suppress(ImagingDBError):
            spec = registry.get(name) if name else registry.find(path)
            with spec.open(path, ReaderOptions(limits=_LIMITS)) as reader:
                frames = list(reader.frames())
                assert len(frames) == reader.acquisition.nbr_frames
                for frame in frames[:_MOST_PIXELS]:
                    assert reader.read(frame).shape == frame.shape


def _ome_xml(data: bytes, folder: Path) -> None:
    parse_ome_xml(data.decode("utf-8", "replace"), folder / "x.ome")


def _imagej(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    torn(text, ended=bool(len(text) % 2))
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    shaped = parse_shaped(text)
    for pages in (1, 50):
        with suppress(ValueError):
            imagej_order(imagej_values(lines), pages=pages).coords(pages - 1)
        with suppress(ValueError):
            shaped_order(shaped or {"shape": [1]}, pages=pages, page=(50, 50)).coords(0)


def _json(data: bytes, folder: Path) -> None:
    with suppress(ValueError, RecursionError):
        found = parse_json(data)
        clean = found.value if found.is_clean else clean_json(found.value)
        text = json.dumps(clean, allow_nan=False)  # neither database takes more than this
        assert "\\u0000" not in text.replace("\\\\", "")


def _metadata_text(data: bytes, folder: Path) -> None:
    path = folder / "metadata.txt"
    path.write_bytes(data)
    read_metadata_text(path, max_bytes=2**20)


def _ndtiff_index(data: bytes, folder: Path) -> None:
    path = folder / "NDTiff.index"
    path.write_bytes(data)
    read_index(path, max_entries=10_000)


def _csv(data: bytes, folder: Path) -> None:
    (folder / "a.tif").touch()
    path = folder / "files.csv"
    path.write_bytes(data)
    read_manifest(path)


def _config(data: bytes, folder: Path) -> None:
    for name, other in (("config", "login"), ("login", "config")):
        path, empty = folder / f"{name}.json", folder / "empty.json"
        path.write_bytes(data)
        empty.write_text('{"drivername": "sqlite", "dbname": "x"}' if other == "login" else "{}")
        with suppress(ImagingDBError):
            load_settings(**{name: path, other: empty})  # type: ignore[arg-type]


def _names(data: bytes, folder: Path) -> None:
    names = [name for name in data.decode("utf-8", "surrogateescape").split("\n")[:200] if name]
    for parse in (parse_names, parse_folder_names):
        with suppress(ValueError):
            assert len(parse(names)) == len(names)
    for parser in available_parsers():
        for name in names:
            with suppress(ValueError):
                get_parser(parser)(name)


def _words(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(InvalidDatasetId):
        assert check_key(str(DatasetId.parse(text)))
    with suppress(ImagingDBError):
        check_key(text)
        assert folder in (folder / text).resolve().parents
    words = text.split()
    for axis in ("channels", "slices", "timepoints", "positions"):
        with suppress(ImagingDBError):
            FrameSelection.from_text(**{axis: words})


def _stored(data: bytes, folder: Path) -> None:
    for codec in (None, "png"):
        decode_frame(data, codec=codec, most_bytes=_LIMITS.max_frame_bytes)


def _png_seeds() -> list[bytes]:
    import numpy as np

    from imaging_db.codecs import encode_frame

    ramp = np.arange(40 * 30).reshape(30, 40)
    kinds = [ramp.astype(kind) for kind in ("u1", "u2", "?", "f4", "i2")]
    kinds += [np.dstack([ramp, ramp, ramp]).astype("u1"), np.dstack([ramp, ramp]).astype("u2")]
    return [encode_frame(pixels).data for pixels in kinds]


_CSV_SEEDS = (
    f"dataset_id,file_name,description,positions,parent_dataset_id\n{_ONE},a.tif,x,[0],None\n".encode(),
    f'dataset_id;file_name\r\n"{_ONE}";a.tif\r\n'.encode("utf-16"),
)
_CONFIG_SEEDS = (
    b'{"upload_type": "frames", "frames_format": "ome_tiff", "microscope": "A", "storage": "local", '
    b'"storage_access": "store", "filename_parser": "parse_sms_name", "max_frames": 5}',
    b'{"drivername": "postgresql", "username": "a", "password": "b", "host": "h", "port": 5432, '
    b'"dbname": "d"}',
)
_NAME_SEEDS = (
    b"img_000000000_Cy3_000.tif\nimg_000000001_Cy3_000.tif\n",
    b"C1-MAX0mitosis.tif\nC1-MAX10mitosis.tif\n",
    b"AS_09125_050116030001_D03f00d0.tif\nAS_09125_050116030001_D03f00d1.tif\n",
    b"img_phase_t000_p000_z001.tif\nim_c000_z001_t002_p003.tif\n",
    b"--W00001--P00001--Z00000--T00000--cherry.tif\nimg_channel000_position000_time000000000_z000.tif",
)
_WORD_SEEDS = (
    _ONE.encode(),
    b"raw_frames/X/im_c000_z000_t000_p000.png",
    b"0 2:5 -1 ::2",
    b"GFP a:b",
)

TARGETS: dict[str, Target] = {
    "tiff": Target(_tiff, lambda: corpus("*.tif", "*.tiff")),
    "ome_xml": Target(
        _ome_xml, lambda: [*corpus("*.ome"), *(d for d in descriptions() if b"<OME" in d)]
    ),
    "imagej": Target(_imagej, descriptions),
    "json": Target(_json, lambda: [*corpus("metadata.txt", "*_metadata.txt"), *descriptions()]),
    "metadata_text": Target(_metadata_text, lambda: corpus("metadata.txt", "*_metadata.txt")),
    "ndtiff_index": Target(_ndtiff_index, lambda: corpus("NDTiff.index")),
    "csv": Target(_csv, lambda: _CSV_SEEDS),
    "config": Target(_config, lambda: _CONFIG_SEEDS),
    "names": Target(_names, lambda: _NAME_SEEDS),
    "words": Target(_words, lambda: _WORD_SEEDS),
    "stored": Target(_stored, _png_seeds),
}
