"""A bench with sources that need some space, for disks that have little."""

from __future__ import annotations

import pytest
import tifffile

from tests.support.acquisitions import pixels
from tests.support.golden import Golden
from tests.torture.bench import Bench

SIDE = 160
"""Pixels along a frame of the large stack: fifty kilobytes that cannot be made smaller."""


@pytest.fixture
def large(bench: Bench) -> Bench:
    """A bench whose stack of frames has six of fifty kilobytes, whose bits are all random."""
    data = pixels(6, SIDE, SIDE)
    tifffile.imwrite(bench.source("frames"), data, imagej=True, metadata={"axes": "ZYX"})
    (bench.source("files") / "d.bin").write_bytes(pixels(280_000, dtype="uint8").tobytes())
    return bench


def truth_of(bench: Bench, serial: str) -> Golden:
    """A dataset in full, which must be there."""
    found = bench.seen(serial)
    assert found is not None
    return found
