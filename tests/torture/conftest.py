"""Fixtures of the torture: a bench, and what starts commands."""

from __future__ import annotations

from tests.support.commands import commands
from tests.torture.bench import bench

__all__ = ["bench", "commands"]
