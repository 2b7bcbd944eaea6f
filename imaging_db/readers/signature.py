"""The name of a foreign format, told by the first bytes of a file or the marks of a folder."""

from __future__ import annotations

from pathlib import Path

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xda\xce\xbe\x0a", "ND2 (Nikon)"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000 or old ND2 (Nikon)"),
    (b"ZISRAWFILE", "CZI (Zeiss)"),
    (b"\x70\x00\x00\x00", "LIF (Leica)"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 or Imaris"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "OIB, ZVI or another OLE2 file"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"%PDF", "PDF"),
    (b"SIMPLE  =", "FITS"),
    (b"NRRD", "NRRD"),
    (b"\x93NUMPY", "NumPy"),
    (b"RIFF", "AVI or another RIFF file"),
    (b"Andor Technology", "SIF (Andor)"),
)
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_ZARR = (".zgroup", ".zarray", "zarr.json")
_MOST_FILES = 100
_IFCB = (".adc", ".hdr", ".roi")


def is_tiff(path: Path) -> bool:
    """Return True where a regular file starts as a TIFF file does."""
    return _head(path).startswith(_TIFF)


def foreign_format(path: Path) -> str | None:
    """Return the name of the format that ``path`` shows, None where it is not known here."""
    if path.is_dir():
        return _of_folder(path)
    if path.suffix.lower() in _IFCB:
        return "IFCB"
    head = _head(path)
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[128:132] == b"DICM":
        return "DICOM"
    return "MP4 or MOV" if head[4:8] == b"ftyp" else None


def _of_folder(path: Path) -> str | None:
    if any((path / mark).exists() for mark in _ZARR):
        return "Zarr"
    files = sorted(entry for entry in path.iterdir() if entry.is_file())
    if {entry.suffix.lower() for entry in files} >= set(_IFCB):
        return "IFCB"
    named = (foreign_format(file) for file in files[:_MOST_FILES])
    return next((name for name in named if name), None)


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe would block
            return b""
        with path.open("rb") as stream:
            return stream.read(132)
    except OSError:
        return b""
