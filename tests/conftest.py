"""Fixtures that every test may use; servers live in tests/support."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.commands",
    "tests.support.environment",
    "tests.support.lab",
    "tests.support.matrix",
    "tests.support.postgres",
    "tests.support.s3",
]
