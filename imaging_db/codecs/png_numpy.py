"""PNG with numpy and a DEFLATE library: the encoder and decoder that need no compiler of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from imaging_db.codecs import png_chunks
from imaging_db.codecs.deflate import Deflate, clear_vectors, deflate_repeats
from imaging_db.codecs.png_filters import Filter, RowBlocks, unfiltered

if TYPE_CHECKING:
    import numpy.typing as npt

# In the order of preference: where two are equal, the first is taken.
_FILTERS = (Filter.UP, Filter.SUB, Filter.NONE, Filter.AVERAGE)
# Average has to save three percent: no sums undo it, so libpng reads it, in more than twice the time.
_WEIGHTS = {Filter.AVERAGE: 1.03}
_SMALL_BYTES, _FEW_ROWS = 16 * 1024, 16  # frames up to here are deflated with every filter
_BYTES_A_STRIP = 64 * 1024
_LEAST_SAMPLE, _MOST_SAMPLE = 3 * 1024, 512 * 1024
# Deflated to a fifth, the rows are repetition and not noise; where little else is left to deflate, the
# search for it takes no longer at libdeflate's level 6 than at 2, which are both as fast as noise.
_REPEATING, _LITTLE_ELSE = 5, 20
_ONE_CALL = 256 * 1024  # up to here one call is faster than a stream of blocks
_MOST_AT_ONCE = 1 << 28  # what is larger is deflated block by block, repetition or not


def encode(pixels: npt.NDArray[Any], *, deflate: Deflate) -> bytes:
    """Return a PNG of ``(Y, X)`` or ``(Y, X, S)``, bool, uint8 or uint16; any strides and byte order.

    One filter serves the whole frame. It is the one that makes a sample of rows smallest.
    """
    blocks = RowBlocks(pixels)
    header = png_chunks.Header(
        width=blocks.width,
        height=blocks.height,
        bits=8 * blocks.step // blocks.colors,
        colors=blocks.colors,
    )
    small = blocks.filtered_bytes <= _SMALL_BYTES or blocks.height < _FEW_ROWS
    stream = _smallest(blocks, deflate) if small else _sampled(blocks, deflate)
    data = png_chunks.written(header, stream, crc32=deflate.crc32)
    clear_vectors()  # it will be hashed
    return data


def _smallest(blocks: RowBlocks, deflate: Deflate) -> list[bytes]:
    """Return the smallest stream of a small frame."""
    blocks.load(0, blocks.height)
    made = {kind: _at_once(deflate, blocks.filtered(kind), kind) for kind in _FILTERS}
    return [made[_best({kind: len(data) for kind, data in made.items()})]]


def _sampled(blocks: RowBlocks, deflate: Deflate) -> Iterator[bytes]:
    """Yield the stream of a frame, filtered and deflated as suits a sample of its rows."""
    kind, ratio = _choice(blocks, partial(_at_once, deflate), share=1 / 96, most_strips=4)
    if ratio < _REPEATING and blocks.filtered_bytes <= _ONE_CALL:
        blocks.load(0, blocks.height)
        yield _at_once(deflate, blocks.filtered(kind), kind)
    elif ratio < _REPEATING or blocks.filtered_bytes > _MOST_AT_ONCE:
        stream = deflate.matching_stream() if kind is Filter.NONE else deflate.noise_stream()
        for part in _filtered(blocks, kind):
            yield stream.compress(part)
        yield stream.flush()
    else:
        # Repetition shows in many rows that follow each other only; they deflate fast.
        level = 2 if ratio < _LITTLE_ELSE else 6
        kind, _ = _choice(
            blocks, lambda rows, _: deflate_repeats(rows, level=level), share=1 / 8, most_strips=2
        )
        whole = bytearray()
        for part in _filtered(blocks, kind):
            whole += part.data
        yield deflate_repeats(whole, level=level)


def _filtered(blocks: RowBlocks, kind: Filter) -> Iterator[npt.NDArray[Any]]:
    """Yield all rows filtered, a block at a time, each valid until the next."""
    for start in range(0, blocks.height, blocks.rows_a_block):
        blocks.load(start, min(start + blocks.rows_a_block, blocks.height))
        yield blocks.filtered(kind)


def _choice(
    blocks: RowBlocks,
    deflated: Callable[[bytes, Filter], bytes],
    *,
    share: float,
    most_strips: int,
) -> tuple[Filter, float]:
    """Return the filter that makes a sample of the rows smallest, and how many times smaller."""
    size = min(max(int(blocks.filtered_bytes * share), _LEAST_SAMPLE), _MOST_SAMPLE)
    strips = min(most_strips, 1 + blocks.filtered_bytes // _BYTES_A_STRIP)
    rows = min(max(1, size // (strips * blocks.row_bytes)), blocks.height // strips - 1)
    sample = RowBlocks(blocks.strips(strips, rows))
    sample.load(0, sample.height)
    sizes = {}
    for kind in _FILTERS:
        filtered = sample.filtered(kind).reshape(strips, 1 + rows, -1)[:, 1:]
        sizes[kind] = len(deflated(filtered.tobytes(), kind))
    best = _best(sizes)
    return best, strips * rows * blocks.row_bytes / sizes[best]


def _best(sizes: dict[Filter, int]) -> Filter:
    return min(_FILTERS, key=lambda kind: sizes[kind] * _WEIGHTS.get(kind, 1.0))


def _at_once(deflate: Deflate, filtered: Any, kind: Filter) -> bytes:
    """Return the stream of a few rows. Differences are noise; pixels as they are may repeat."""
    return deflate.at_once(filtered, repeats=kind is Filter.NONE)


def decode(data: bytes, *, deflate: Deflate, native: ModuleType | None = None) -> npt.NDArray[Any]:
    """Return the pixels of any PNG: ``(Y, X)`` or ``(Y, X, S)``, uint8 or uint16, native byte order.

    Plain PNGs whose rows have the filters none, sub and up, with the ``native`` kernel any filter, are read
    here, all others by libpng, after every checksum was compared.

    Raises
    ------
    ValueError
        The data are no PNG, or were cut off or altered.
    """
    import numpy as np

    chunks = png_chunks.read(data, crc32=deflate.crc32)
    header = png_chunks.plain_header(chunks)
    if header is None:
        return _decode_foreign(data)
    parts = [body for _, body in chunks[1:-1]]
    row_bytes = header.width * header.step
    stream = parts[0] if len(parts) == 1 else b"".join(parts)
    if native is None and deflate.first_byte(stream) > Filter.UP:
        return _decode_foreign(data)
    inflated = deflate.inflate(stream, size=header.height * (1 + row_bytes))
    clear_vectors()  # the pixels will be hashed
    rows = np.frombuffer(inflated, np.uint8).reshape(header.height, 1 + row_bytes)
    samples = np.empty((header.height, header.width * header.colors), f"u{header.bits // 8}")
    if native is not None:
        native.unfilter(inflated, samples, header.height, header.step, header.bits == 16)
    elif not unfiltered(rows, step=header.step, samples=samples):
        return _decode_foreign(data)
    if header.colors == 1:
        return samples
    return samples.reshape(header.height, header.width, header.colors)


def _decode_foreign(data: bytes) -> npt.NDArray[Any]:
    """Return the pixels of a PNG by libpng; its checksums are known to be right."""
    import imagecodecs

    try:
        pixels: npt.NDArray[Any] = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:
        raise ValueError(f"libpng cannot read the PNG: {error}") from error
    return pixels
