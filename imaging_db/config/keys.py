"""Checking the keys of a config: types, choices, and the nearest known name of a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imaging_db.config.sizes import size_in_bytes


class Keys:
    """The keys of one JSON object, read one by one; every mistake is collected in ``problems``."""

    def __init__(self, values: Mapping[str, Any], path: Path | None, known: Sequence[str]) -> None:
        self._values = values
        self._path = path
        self.problems: list[str] = []
        for key in values:
            if key not in known:
                self.problem(key, f"unknown key{did_you_mean(key, known)}")

    def problem(self, key: str, why: str) -> None:
        """Collect one mistake, named by file and key."""
        self.problems.append(f"{self._path or 'command line'}: {key}: {why}")

    def has(self, key: str) -> bool:
        """Return True where the key is given and not null."""
        return self._values.get(key) is not None

    def raw(self, key: str) -> Any:
        """Return a value as it is, None where it is absent."""
        return self._values.get(key)

    def text(self, key: str, *, required: bool = False) -> str | None:
        """Return a text value, None where it is absent or wrong."""
        value = self._values.get(key)
        if value is None:
            if required:
                self.problem(key, "is required")
            return None
        if not isinstance(value, str) or not value.strip():
            self.problem(key, f"must be a text that is not empty, found {value!r}")
            return None
        return value

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Return one of ``choices``, None where it is absent or wrong."""
        value = self.text(key)
        if value is None or value in choices:
            return value
        self.problem(
            key, f"{value!r} is none of {', '.join(choices)}{did_you_mean(value, choices)}"
        )
        return None

    def whole(self, key: str, *, least: int = 1) -> int | None:
        """Return a whole number (also written as text), None where it is absent or wrong."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            self.problem(key, f"must be a whole number from {least}, found {value!r}")
            return None
        return value

    def size(self, key: str) -> int | None:
        """Return a number of bytes, also written as ``2 GiB``; None where it is absent or wrong."""
        value = self._values.get(key)
        if not isinstance(value, str):
            return self.whole(key)
        try:
            return size_in_bytes(value)
        except ValueError as error:
            self.problem(key, str(error))
            return None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return `` (did you mean 'x'?)`` for a word that resembles a known one, else what is known."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else f" (known: {', '.join(known)})"
