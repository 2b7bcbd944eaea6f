"""One object of a JSON document, read key by key; every mistake is kept with the place where it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from imaging_db.model import JSONObject

_SHOWN = 80
Value = TypeVar("Value")


class Section:
    """The keys of one object; ``place`` is its JSON path, ``problems`` are shared by the whole document.

    What is wrong is kept as a problem, and a stand-in of the right type comes back, so that all that is
    wrong can be told at once; nothing may be made of what was read where there are problems. Without
    ``default`` a key is needed.
    """

    def __init__(self, values: Mapping[str, Any], place: str, problems: list[str]) -> None:
        self._values = values
        self._place = place
        self._problems = problems
        self._read: set[str] = set()

    def place_of(self, key: str) -> str:
        """Return the JSON path of a key, such as ``ingest_job.extent.x``."""
        return f"{self._place}.{key}" if self._place else key

    def problem(self, key: str, why: str) -> None:
        """Keep what is wrong with a key."""
        self._problems.append(f"{self.place_of(key)}: {why}")

    def has(self, key: str) -> bool:
        """Return True where a key is given and not null."""
        return self._values.get(key) is not None

    def raw(self, key: str) -> Any:
        """Return a value as it is, None where it is absent."""
        self._read.add(key)
        return self._values.get(key)

    def keys(self) -> Sequence[str]:
        """Return all keys, in the order of the file."""
        return list(self._values)

    def text(self, key: str, *, default: str | None = None, or_empty: bool = False) -> str:
        """Return a text, which has to hold something unless it may be empty."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, "")
        if isinstance(value, str) and (or_empty or value.strip()):
            return value
        return self._wrong(key, "a text" if or_empty else "a text that is not empty", value, "")

    def choice(self, key: str, choices: Sequence[str], *, default: str | None = None) -> str:
        """Return one of ``choices``."""
        value = self.text(key, default=default)
        if value and value not in choices:
            self.problem(key, f"must be {' or '.join(choices)}, found {_shown(value)}")
        return value

    def whole(self, key: str, *, least: int | None = None, default: int | None = None) -> int:
        """Return a whole number; 512.0 is none, as JSON Schema's draft 4 means it."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, 0)
        if _is_whole(value) and (least is None or value >= least):
            return int(value)
        wanted = "a whole number" if least is None else f"a whole number from {least}"
        return self._wrong(key, wanted, value, 0)

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, False)
        return value if isinstance(value, bool) else self._wrong(key, "true or false", value, False)

    def span(self, key: str) -> tuple[int, int]:
        """Return ``[start, stop]``: from 0, and the stop is behind the start."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, None, (0, 1))
        if not isinstance(value, list) or len(value) != 2 or not all(map(_is_whole, value)):
            return self._wrong(key, "two whole numbers [start, stop]", value, (0, 1))
        start, stop = value
        if start < 0:
            self.problem(key, f"{value} begins before 0")
        elif stop < start:
            self.problem(key, f"{value} ends before it begins")
        elif stop == start:
            self.problem(key, f"{value} is empty, the stop itself does not belong to it")
        else:
            return start, stop
        return 0, 1

    def section(self, key: str) -> Section:
        """Return the object below a key; where there is none, one that finds nothing else wrong."""
        value = self.raw(key)
        if isinstance(value, dict):
            return Section(value, self.place_of(key), self._problems)
        if value is None:
            self.problem(key, "is required")
        else:
            self._wrong(key, "an object {...}", value, None)
        return Section({}, self.place_of(key), [])

    def unread(self) -> JSONObject:
        """Return what nobody read, by its place."""
        left = [key for key in self._values if key not in self._read]
        return {self.place_of(key): self._values[key] for key in left}

    def _absent(self, key: str, default: Value | None, stand_in: Value) -> Value:
        if default is not None:
            return default
        self.problem(key, "is required")
        return stand_in

    def _wrong(self, key: str, wanted: str, value: object, stand_in: Value) -> Value:
        self.problem(key, f"must be {wanted}, found {_shown(value)}")
        return stand_in


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
