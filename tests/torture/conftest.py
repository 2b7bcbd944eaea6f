"""Fixtures of the torture."""

from __future__ import annotations

from tests.torture.bench import bench

__all__ = ["bench"]
