"""Fixtures of the reliability tests: a bench, and what starts commands."""

from __future__ import annotations

from tests.support.commands import commands
from tests.support.counter import counter
from tests.torture.bench import bench

__all__ = ["bench", "commands", "counter"]
