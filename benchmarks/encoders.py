"""Frame encoders and decoders, ours and others', as plain functions."""

from __future__ import annotations

import importlib
import importlib.util
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.synth import frame

if TYPE_CHECKING:
    import numpy.typing as npt

    Encode = Callable[[npt.NDArray[Any]], Any]
    Decode = Callable[[Any], npt.NDArray[Any]]

NATIVE, FALLBACK = "imaging_db, native kernel", "imaging_db, numpy and isal"
JXL = "imaging_db, JPEG XL"
CV2, LEVEL_6 = "cv2.imencode, defaults", "libpng level 6, all filters"
_KERNEL = "IMAGING_DB_KERNEL"
_PACKAGE = "imaging_db.codecs"


def encoders() -> dict[str, Encode]:
    """Return every encoder that is installed, by name: a frame to its bytes."""
    import imagecodecs

    found: dict[str, Encode] = {}
    native, fallback = codecs(native=True), codecs(native=False)
    if has_kernel():
        found[NATIVE] = native.png.encode
    found[FALLBACK] = fallback.png.encode
    found[JXL] = fallback.jxl.encode
    if importlib.util.find_spec("cv2"):
        found[CV2] = _cv2_encode
    found["Pillow level 1"] = lambda pixels: _pillow_encode(pixels, 1)
    found["Pillow level 6"] = lambda pixels: _pillow_encode(pixels, 6)
    found["libpng level 1, up filter, run lengths"] = lambda pixels: imagecodecs.png_encode(
        pixels, 1, strategy=3, filter=32
    )
    found[LEVEL_6] = lambda pixels: imagecodecs.png_encode(pixels, 6, filter=248)
    if importlib.util.find_spec("zlib_ng"):
        found["numpy up filter, zlib-ng Huffman"] = _zlib_ng_encode
    return found


def decoders() -> dict[str, Decode]:
    """Return every decoder that is installed, by name: PNG bytes to a frame."""
    import imagecodecs
    from PIL import Image

    found: dict[str, Decode] = {}
    native, fallback = codecs(native=True), codecs(native=False)
    if has_kernel():
        found[NATIVE] = native.png.decode
    found[FALLBACK] = fallback.png.decode
    if importlib.util.find_spec("cv2"):
        found["cv2.imdecode"] = _cv2_decode
    found["Pillow"] = lambda data: np.asarray(Image.open(io.BytesIO(data)))
    found["imagecodecs (libpng)"] = imagecodecs.png_decode
    return found


def codecs(*, native: bool) -> ModuleType:
    """Return `imaging_db.codecs` with its native kernel or without, both usable in one process.

    Whether it is used is decided at import, so the package is imported once for each; modules that are
    already loaded keep what they have.
    """
    if native not in _loaded:
        kept = {name: module for name, module in sys.modules.items() if _is_ours(name)}
        for name in kept:
            del sys.modules[name]
        before = os.environ.get(_KERNEL)
        os.environ[_KERNEL] = "1" if native else "0"
        try:
            _loaded[native] = importlib.import_module(_PACKAGE)
            for name in ("kernel", "png", "jxl"):
                importlib.import_module(f"{_PACKAGE}.{name}")
        finally:
            os.environ.pop(_KERNEL, None)
            if before is not None:
                os.environ[_KERNEL] = before
            sys.modules.update(kept)
            sys.modules["imaging_db"].codecs = sys.modules[_PACKAGE]  # type: ignore[attr-defined]
    return _loaded[native]


_loaded: dict[bool, ModuleType] = {}


@cache
def has_kernel() -> bool:
    """Return True where the native kernel was built and is in use: its files are not the fallback's."""
    if codecs(native=True).kernel.native is None:
        return False
    noise = frame("dim", (256, 256), seed=0)
    with_it, without = (codecs(native=native).png.encode(noise) for native in (True, False))
    return bool(with_it != without)


def _is_ours(name: str) -> bool:
    """Return True for our codec modules, not for the compiled one: it is loaded once."""
    return name == _PACKAGE or (name.startswith(f"{_PACKAGE}.") and not name.endswith("._kernel"))


def _cv2_encode(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import cv2

    return np.asarray(cv2.imencode(".png", pixels)[1])


def _cv2_decode(data: bytes) -> npt.NDArray[Any]:
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError("cv2 cannot decode it")
    return np.asarray(found)


def _pillow_encode(pixels: npt.NDArray[Any], level: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", compress_level=level)
    return out.getvalue()


def _zlib_ng_encode(pixels: npt.NDArray[Any]) -> bytes:
    """Return a PNG with the up filter in numpy and zlib-ng's Huffman coding (PNG, ISO/IEC 15948)."""
    from zlib_ng import zlib_ng

    height, width = pixels.shape[:2]
    big = pixels.astype(pixels.dtype.newbyteorder(">"), copy=False)
    rows = np.ascontiguousarray(big).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # up
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    packer = zlib_ng.compressobj(1, zlib_ng.DEFLATED, 15, 9, zlib_ng.Z_HUFFMAN_ONLY)
    packed = packer.compress(filtered.data.cast("B")) + packer.flush()
    color = 2 if pixels.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, color, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
