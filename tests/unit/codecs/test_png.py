"""Every PNG that we write is read back bit-exactly, by us and by everyone else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import imagecodecs
import numpy as np
import png as pypng
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imaging_db.codecs import deflate, kernel, png, png_chunks, png_numpy
from imaging_db.codecs.png_filters import Filter
from imaging_db.codecs.png_native import encode_noise, whole_rows
from tests.support.png_frames import CONTENTS, LARGEST, PLACES, Pixels, content, frames, placed

LIBRARIES = st.sampled_from([deflate.installed(), deflate.standard()])


def by_opencv(data: bytes) -> Pixels:
    """Grey, RGB and RGBA of 8 and 16 bits, colours as BGR; grey with alpha as grey thrice and alpha."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found.ndim == 2:
        return found
    return found[..., ::-1] if found.shape[2] == 3 else found[..., [2, 1, 0, 3]]


def by_pillow(data: bytes) -> Pixels:
    """Everything of 8 bits, and grey of 16; of other colours with 16 bits Pillow keeps the upper 8."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def by_pypng(data: bytes) -> Pixels:
    """Everything, in Python alone: a reader that shares no code with libpng."""
    width, height, rows, info = pypng.Reader(bytes=data).read()
    values = np.array([list(row) for row in rows], f"u{info['bitdepth'] // 8}")
    return values.reshape(height, width, info["planes"])


def stored(frame: Pixels) -> Pixels:
    """What a PNG holds of a frame: bool as 0 and 1."""
    return frame.astype(np.uint8) if frame.dtype == bool else frame.astype(frame.dtype.type)


def same(found: Pixels, expected: Pixels) -> bool:
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


@settings(max_examples=250, deadline=None)
@given(frames(), LIBRARIES)
def test_every_reader_gives_back_the_very_pixels(frame: Pixels, library: deflate.Deflate) -> None:
    data = png_numpy.encode(frame, deflate=library)
    assert same(png_numpy.decode(data, deflate=library), stored(frame))
    check_by_other_readers(data, stored(frame))


@pytest.mark.skipif(kernel.native is None, reason="no compiler, no kernel")
@settings(max_examples=250, deadline=None)
@given(frames(), LIBRARIES)
def test_so_they_do_from_the_native_kernel(frame: Pixels, library: deflate.Deflate) -> None:
    """However small the frame, and however it repeats itself; with our own reader in all its forms."""
    assert kernel.native is not None
    data = encode_noise(kernel.native, whole_rows(frame))
    for native in (kernel.native, None):
        assert same(png_numpy.decode(data, deflate=library, native=native), stored(frame))
    check_by_other_readers(data, stored(frame))
    assert same(png.decode(png.encode(frame)), stored(frame))


def check_by_other_readers(data: bytes, expected: Pixels) -> None:
    colors = expected.shape[2] if expected.ndim == 3 else 1
    assert same(imagecodecs.png_decode(data), expected)
    if colors == 2:
        grey, alpha = expected[..., 0], expected[..., 1]
        assert same(by_opencv(data), np.stack([grey, grey, grey, alpha], axis=-1))
    else:
        assert same(by_opencv(data), expected)
    if expected.dtype == np.uint8 or colors == 1:
        assert same(by_pillow(data), expected)
    if expected.size < 4000:
        assert same(by_pypng(data).reshape(expected.shape), expected)


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("place", PLACES)
def test_strides_and_byte_order_do_not_change_a_byte(kind: str, place: str) -> None:
    frame = content(kind, (150, 211), LARGEST["uint16"], 7).astype(np.uint16)
    elsewhere = placed(frame, place)
    assert png.encode(elsewhere) == png.encode(frame)
    assert same(png.decode(png.encode(elsewhere)), frame)


def made_for(filter_: Filter) -> Pixels:
    """A frame of several blocks, 16 bits, that deflates best with this filter."""
    noise = np.random.default_rng(3)
    camera = noise.poisson(9, (300, 900))
    if filter_ is Filter.NONE:
        return camera.astype(np.uint16)
    if filter_ is Filter.SUB:
        return (camera + noise.integers(0, 60000, (300, 1))).astype(np.uint16)
    if filter_ is Filter.UP:
        return (camera + noise.integers(0, 60000, (1, 900))).astype(np.uint16)
    slope = np.add.outer(np.arange(300), np.arange(900)) // 7
    return (noise.poisson(30, (300, 900)) + slope).astype(np.uint8)


@pytest.mark.parametrize("filter_", [Filter.NONE, Filter.SUB, Filter.UP, Filter.AVERAGE])
@pytest.mark.parametrize("library", [deflate.installed(), deflate.standard()])
def test_the_filter_that_fits_is_taken_and_undone(
    filter_: Filter, library: deflate.Deflate
) -> None:
    frame = made_for(filter_)
    data = png_numpy.encode(frame, deflate=library)
    stream = b"".join(
        body for kind, body in png_chunks.read(data, crc32=zlib.crc32) if kind == b"IDAT"
    )
    assert zlib.decompress(stream)[0] == filter_
    assert same(png_numpy.decode(data, deflate=library), frame)
    assert same(by_opencv(data), frame)


def test_rows_of_different_filters_are_undone_each_by_its_own() -> None:
    """As other writers make them, and we do not."""
    frame = made_for(Filter.UP)
    for filters in (
        imagecodecs.PNG.FILTER.SUB,
        imagecodecs.PNG.FILTER.UP,
        imagecodecs.PNG.FILTER.FAST,
    ):
        data = imagecodecs.png_encode(frame, filter=filters)
        assert same(png_numpy.decode(data, deflate=deflate.installed()), frame)


def test_pixels_in_several_chunks_are_put_together() -> None:
    frame = made_for(Filter.UP)
    chunks = png_chunks.read(png.encode(frame), crc32=zlib.crc32)
    pieces = [
        bytes(body[at : at + 999]) for _, body in chunks[1:-1] for at in range(0, len(body), 999)
    ]
    header = png_chunks.Header(width=900, height=300, bits=16, colors=1)
    data = png_chunks.written(header, pieces, crc32=zlib.crc32, most=5000)
    sizes = [len(body) for kind, body in png_chunks.read(data, crc32=zlib.crc32) if kind == b"IDAT"]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {5000}
    for reader in (png.decode, imagecodecs.png_decode, by_opencv, by_pillow):
        assert same(reader(data), frame)


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param({"mode": "1"}, id="1 bit"),
        pytest.param({"mode": "P"}, id="palette"),
        pytest.param({"mode": "L", "gamma": True}, id="more chunks"),
    ],
)
def test_png_of_other_kinds_are_read_by_libpng(foreign: dict[str, object]) -> None:
    image = Image.fromarray(content("ramp", (20, 31), 255, 5).astype(np.uint8)).convert(
        str(foreign["mode"])
    )
    target = io.BytesIO()
    image.save(target, "PNG", **({"dpi": (300, 300)} if "gamma" in foreign else {}))
    assert same(png.decode(target.getvalue()), imagecodecs.png_decode(target.getvalue()))


def test_an_interlaced_png_is_read_by_libpng() -> None:
    frame = content("ramp", (21, 30), 255, 5).astype(np.uint8)
    target = io.BytesIO()
    pypng.Writer(30, 21, greyscale=True, interlace=True).write(target, frame.tolist())
    assert same(png.decode(target.getvalue()), frame)


def test_eight_threads_at_once_write_the_bytes_of_one() -> None:
    made = [
        content(kind, (90 + 40 * i, 200), 65535, i).astype(np.uint16)
        for i, kind in enumerate(CONTENTS)
    ]
    alone = [png_numpy.encode(frame, deflate=deflate.installed()) for frame in made]
    with ThreadPoolExecutor(8) as pool:
        work = [
            pool.submit(png_numpy.encode, frame, deflate=deflate.installed()) for frame in made * 12
        ]
        assert [task.result() for task in work] == alone * 12
        back = list(pool.map(png.decode, alone * 12))
    assert all(same(found, frame) for found, frame in zip(back, made * 12, strict=True))


WITHOUT_ISAL = """
import sys
sys.modules["isal"] = None
import numpy as np
from imaging_db.codecs import deflate, png_numpy
assert deflate.installed().module.__name__ == "zlib"
frame = np.random.default_rng(0).poisson(100, (300, 400)).astype(np.uint16)
data = png_numpy.encode(frame, deflate=deflate.installed())
assert (png_numpy.decode(data, deflate=deflate.installed()) == frame).all()
assert len(data) < frame.nbytes * 2 / 3
print("exact")
"""


def test_without_isal_the_standard_library_does_the_same() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_ISAL],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "exact\n"), ended.stderr
