"""Fixtures of the reliability tests."""

from __future__ import annotations

from tests.support.counter import counter
from tests.torture.bench import bench

__all__ = ["bench", "counter"]
