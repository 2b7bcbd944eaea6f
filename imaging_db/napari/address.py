"""Addresses of frames, as napari hands them over: ``imaging-db://SERIAL?channels=DAPI&slices=0:10``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from imaging_db.errors import UsageError

SCHEME = "imaging-db:"

_AXES = ("channels", "slices", "timepoints", "positions")
_KEYS = (*_AXES, "where", "fill")


@dataclass(frozen=True, slots=True)
class Address:
    """A dataset, and what is selected of it: the arguments of `imaging_db.napari.layers`."""

    serial: str
    selection: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return what an address spells.

        After the dataset id come ``channels``, ``slices``, ``timepoints``,
        ``positions`` (values with commas between), ``where`` and ``fill``, as in the query of a URL.

        Raises
        ------
        UsageError
            Another scheme, no dataset id, a key that is unknown or comes twice, a fill that is no number.
        """
        scheme, rest = text[: len(SCHEME)], text[len(SCHEME) :]
        serial, _, query = rest.removeprefix("//").partition("?")
        serial = unquote(serial.rstrip("/"))
        if scheme.lower() != SCHEME or not serial:
            raise UsageError(
                f"{text!r} is not the address of a dataset",
                hint=f"write {SCHEME}//ISP-2018-06-08-15-45-00-0001",
            )
        selection: dict[str, Any] = {}
        for part in filter(None, query.split("&")):
            key, _, value = part.partition("=")
            if key not in _KEYS or key in selection or not value:
                raise UsageError(
                    f"{text}: {part!r} is unknown, empty or said twice",
                    hint=f"known are {', '.join(_KEYS)}",
                )
            selection[key] = _value(key, value)
        return cls(serial, selection)


def _value(key: str, text: str) -> Any:
    if key in _AXES:  # split first, so that %2C stands for a comma in a name
        return [unquote(word) for word in text.split(",")]
    if key == "where":
        return unquote(text)
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"fill={text} is not a number") from None
