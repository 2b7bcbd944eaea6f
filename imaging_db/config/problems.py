"""Collecting what is wrong, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from imaging_db.errors import ConfigError

Made = TypeVar("Made")


class Problems:
    """Runs steps that may raise `ConfigError` and keeps what they found.

    >>> problems = Problems()
    >>> settings = problems.collect(load_settings)
    >>> manifest = problems.collect(lambda: read_manifest("files.csv"))
    >>> problems.stop()
    """

    def __init__(self) -> None:
        self._found: list[str] = []

    def collect(self, step: Callable[[], Made]) -> Made | None:
        """Return what ``step`` makes, None where it failed and its problems were kept."""
        try:
            return step()
        except ConfigError as error:
            hint = f"; {error.hint}" if error.hint else ""
            self._found += [problem + hint for problem in error.problems]
            return None

    def stop(self) -> None:
        """Raise one `ConfigError` with all that was found, if anything was."""
        if self._found:
            raise ConfigError(self._found)
