"""The settings of a volume source, read key by key; every mistake is told at once."""

from __future__ import annotations

import math
from pathlib import Path

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject

_COMMON = ("kind", "grid", "dtype")
_LEAST = -(2**31)


class VolumeKeys(Keys):
    """The keys of a source's settings; others than the ``known`` and the common ones are mistakes."""

    def __init__(self, settings: JSONObject, *known: str) -> None:
        super().__init__(settings, Path(f"{settings.get('kind')} source"), (*_COMMON, *known))

    def needed(self, key: str) -> str:
        """Return a text that must be there; empty after a mistake, which `check` tells."""
        return self.text(key, required=True) or ""

    def size(self, key: str) -> int:
        """Return a whole number from 1 that must be there; 1 after a mistake."""
        if not self.has(key):
            self.problem(key, "is required")
        return self.whole(key) or 1

    def offset(self, key: str) -> int:
        """Return a whole number of any sign, 0 where it is absent."""
        return self.whole(key, least=_LEAST) or 0

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, f"must be true or false, found {value!r}")
        return value is True

    def seconds(self, key: str, usual: float) -> float:
        """Return a number above 0, what is usual where it is absent."""
        value = self.raw(key)
        if value is None:
            return usual
        number = 0.0 if isinstance(value, bool) or not isinstance(value, (int, float)) else value
        if not 0 < number < math.inf:
            self.problem(key, f"must be a number of seconds above 0, found {value!r}")
        return float(number)

    def check(self) -> None:
        """Raise `ConfigError` with every mistake that was met."""
        if self.problems:
            raise ConfigError(self.problems)
