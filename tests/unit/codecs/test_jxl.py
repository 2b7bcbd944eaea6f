"""JPEG XL keeps every bit of what it holds, and what it does not hold goes into a TIFF."""

from __future__ import annotations

import sys
import threading
import time

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imaging_db.codecs import (
    DEFAULT_CODEC,
    check_codec,
    codec_for,
    codec_of,
    decode_frame,
    encode_frame,
    holds,
    suffix_of,
)
from imaging_db.config.settings import CODECS, UploadSettings
from imaging_db.errors import IntegrityError, SchemaOutOfDate, UsageError

Pixels = npt.NDArray[np.generic]
sides = st.one_of(st.integers(1, 6), st.integers(1, 70))
shapes = st.tuples(sides, sides).flatmap(
    lambda yx: st.sampled_from([yx, (*yx, 2), (*yx, 3), (*yx, 4)])
)


@st.composite
def frames(draw: st.DrawFn) -> Pixels:
    """Frames as cameras and as faults make them: noise, flat, ramps, few bits; rows and columns turned."""
    dtype = draw(st.sampled_from(["bool", "uint8", "uint16"]))
    shape = draw(shapes)
    top = 1 if dtype == "bool" else int(np.iinfo(dtype).max)
    kind = draw(st.sampled_from(["any", "noise", "flat", "ramp", "few bits", "extremes"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "any":
        return draw(hnp.arrays(dtype=dtype, shape=shape))
    made = {
        "noise": lambda: random.integers(0, top, shape, endpoint=True),
        "flat": lambda: np.full(shape, random.integers(0, top, endpoint=True)),
        "ramp": lambda: np.arange(np.prod(shape)).reshape(shape) % (top + 1),
        "few bits": lambda: random.integers(0, min(top, 3), shape, endpoint=True) + top // 2,
        "extremes": lambda: random.choice([0, top], shape),
    }[kind]()
    pixels = made.astype(dtype)
    return pixels[::-1, ::-1] if draw(st.booleans()) else pixels


@settings(max_examples=200, deadline=None)
@given(frames())
@example(np.zeros((1, 1), np.uint16))
@example(np.full((1, 1, 4), 255, np.uint8))
@example(np.arange(3 * 4 * 4, dtype=np.uint16).reshape(3, 4, 4))
@example(np.array([[[65535, 0], [1, 0]]], np.uint16))  # invisible where its alpha is 0
def test_every_bit_comes_back_and_the_bytes_are_always_the_same(pixels: Pixels) -> None:
    encoded = encode_frame(pixels, codec="jxl")
    assert (encoded.codec, encoded.suffix, codec_of(encoded.data)) == ("jxl", ".jxl", "jxl")
    back = decode_frame(encoded.data, dtype=pixels.dtype.name)
    assert (back.dtype, back.shape) == (pixels.dtype, pixels.shape)
    assert back.tobytes() == pixels.tobytes()
    assert encode_frame(pixels.copy(), codec="jxl").data == encoded.data


@pytest.mark.parametrize("shape", [(1500, 70), (1, 300_000), (2049, 17), (300, 260, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_frames_of_several_groups_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    """JPEG XL codes squares of 256 by themselves, and long sides in another level of the standard."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    data = encode_frame(pixels, codec="jxl").data
    assert np.array_equal(decode_frame(data), pixels)
    assert np.array_equal(imagecodecs.jpegxl_decode(data), pixels)


def test_pictures_of_few_colours_come_back() -> None:
    """libjxl's fast encoder alone changes pixels of a few of these."""
    random = np.random.default_rng(5)
    for shape in ((7, 14, 3), (7, 14, 2)):
        for _ in range(300):
            pixels = random.integers(0, 255, shape, dtype=np.uint8, endpoint=True)
            assert np.array_equal(decode_frame(encode_frame(pixels, codec="jxl").data), pixels)


def test_noise_in_a_small_frame_is_left_to_the_sure_encoder() -> None:
    """libjxl's fast one writes past its memory here, and its files are larger than the pixels by 39 %."""
    pixels = np.random.default_rng(0).integers(0, 65535, (256, 256), np.uint16, endpoint=True)
    data = encode_frame(pixels, codec="jxl").data
    assert len(data) < 1.06 * pixels.nbytes
    assert np.array_equal(decode_frame(data), pixels)


def test_a_codestream_that_lies_is_never_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    other = imagecodecs.jpegxl_encode(pixels + 1, lossless=True)
    for lie in (other, other[:-1]):
        monkeypatch.setattr(imagecodecs, "jpegxl_encode", lambda *_, lie=lie, **__: lie)
        with pytest.raises(IntegrityError, match="did not give the pixels back"):
            encode_frame(pixels, codec="jxl")


@pytest.mark.parametrize("codec", CODECS)
def test_one_sample_a_pixel_is_grey(codec: str) -> None:
    pixels = np.arange(30, dtype=np.uint16).reshape(5, 6, 1)
    back = decode_frame(encode_frame(pixels, codec=codec).data)
    assert np.array_equal(back, pixels[:, :, 0])


@pytest.mark.parametrize(
    ("dtype", "shape", "codec"),
    [
        ("uint16", (8, 9), "jxl"),
        ("bool", (8, 9), "jxl"),
        ("uint8", (8, 9, 2), "jxl"),
        ("uint16", (1, 1_000_001), "jxl"),
        ("uint16", (8, 9, 5), "tiff"),
        ("int16", (8, 9), "tiff"),
        ("uint32", (8, 9), "tiff"),
        ("float32", (8, 9), "tiff"),
    ],
)
def test_jxl_where_it_is_exact_tiff_elsewhere(
    dtype: str, shape: tuple[int, ...], codec: str
) -> None:
    assert codec_for(dtype, shape, preferred="jxl") == codec
    assert holds("jxl", dtype, shape) is (codec == "jxl")
    assert codec_for(dtype, shape, preferred="tiff") == "tiff"


def test_both_forms_of_a_jxl_are_recognised() -> None:
    pixels = np.arange(6000, dtype=np.uint8).reshape(60, 100)
    bare = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=False)
    boxed = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True)
    assert bare[:2] == b"\xff\x0a"
    assert boxed[4:8] == b"JXL "
    for data in (bare, boxed):
        assert codec_of(data) == "jxl"
        assert np.array_equal(decode_frame(data), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_jxl_that_is_cut_off_is_refused_wherever_it_ends(dtype: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (20, 30), dtype=dtype)
    data = encode_frame(pixels, codec="jxl").data
    for end in range(len(data)):
        with pytest.raises(IntegrityError, match="key cannot be decoded"):
            decode_frame(data[:end], where="key")


def test_the_interpreter_is_free_while_a_jxl_is_made() -> None:
    """With a switch interval of a minute, a thread that kept the lock would let this one do nothing."""
    pixels = np.random.default_rng(2).integers(0, 4000, (2048, 2048), dtype=np.uint16)
    before, counted, done = sys.getswitchinterval(), 0, threading.Event()
    sys.setswitchinterval(60)
    try:

        def work() -> None:
            decode_frame(encode_frame(pixels, codec="jxl").data)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        while not done.is_set():
            counted += 1
            time.sleep(0)
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert counted > 100


def test_the_names_of_codecs_are_the_same_everywhere() -> None:
    assert UploadSettings().frames_codec == DEFAULT_CODEC == CODECS[0]
    assert [suffix_of(codec) for codec in CODECS] == [".png", ".jxl", ".tif"]
    for codec in CODECS:
        check_codec(codec)
    with pytest.raises(UsageError, match="unknown codec 'jlx'; known: png, jxl, tiff"):
        check_codec("jlx")


def test_a_build_without_jpeg_xl_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing:
        available = False

    def refuse(*_: object, **__: object) -> None:
        raise ImportError("could not import name 'jpegxl_decode'")

    data = encode_frame(np.ones((4, 4), np.uint8), codec="jxl").data
    monkeypatch.setattr(imagecodecs, "JPEGXL", Missing)
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", refuse)
    with pytest.raises(UsageError, match="built without JPEG XL here; install its wheel"):
        check_codec("jxl")
    with pytest.raises(UsageError, match="key is a JPEG XL: imagecodecs was built without"):
        decode_frame(data, where="key")


def test_a_codec_of_a_newer_version_is_named() -> None:
    data = encode_frame(np.ones((4, 4), np.uint8)).data
    with pytest.raises(SchemaOutOfDate, match=r"im.jxs is kept as 'jpegxs'.*; update imaging_db"):
        decode_frame(data, codec="jpegxs", where="im.jxs")
