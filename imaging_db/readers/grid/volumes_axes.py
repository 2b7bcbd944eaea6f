"""The order of a volume's axes, and how a box of it becomes slices of rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imaging_db.errors import ConfigError, UnsupportedFormat

if TYPE_CHECKING:
    import numpy.typing as npt

_ORDER = "tczyx"
_USUAL = {2: "yx", 3: "zyx", 5: "tczyx"}

Ranges = Mapping[str, tuple[int, int]]
"""Where something begins and ends (exclusive) on the axes ``t``, ``z``, ``y``, ``x``; absolute indices."""


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes by their letters, in the order of the stored array: ``tczyx``, ``xyzc``, ``yx``."""

    letters: str

    def __len__(self) -> int:
        return len(self.letters)

    def size(self, letter: str, shape: tuple[int, ...]) -> int:
        """Return how long an axis is; 1 where the array does not have it."""
        place = self.letters.find(letter)
        return 1 if place < 0 else int(shape[place])

    def cut(self, ranges: Ranges) -> tuple[slice, ...]:
        """Return the index of a part; ``ranges`` names every axis of the array, in the array's indices."""
        return tuple(slice(*ranges[letter]) for letter in self.letters)

    def to_zyx(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a part of one timepoint and one channel as ``(Z, Y, X)``; a view, in any memory order."""
        order = [self.letters.index(letter) for letter in _ORDER if letter in self.letters]
        shape = tuple(self.size(letter, part.shape) for letter in "zyx")
        return part.transpose(order).reshape(shape)


def axes_of(text: str, *, key: str = "axes", without: str = "") -> Axes:
    """Return the axes that a text names; those in ``without`` are not allowed.

    Raises
    ------
    ConfigError
        A letter that is unknown or there twice, or no ``y`` or ``x``.
    """
    letters = text.strip().lower()
    allowed = [letter for letter in _ORDER if letter not in without]
    if len(set(letters)) < len(letters) or not {"y", "x"} <= set(letters) <= set(allowed):
        cause = f"{key}: {text!r} must be some of the letters {', '.join(allowed)}, each once, y and x always"
        raise ConfigError(cause)
    return Axes(letters)


def usual_axes(place: str, shape: tuple[int, ...]) -> Axes:
    """Return the axes of an array that does not say what they are.

    Raises
    ------
    UnsupportedFormat
        Its number of axes leaves that open: a fourth one may be time or channels.
    """
    if len(shape) not in _USUAL:
        cause = f"is an array of {len(shape)} axes {shape} that does not say which they are"
        raise UnsupportedFormat(
            place, cause, hint='name them in the settings, such as "axes": "tzyx"'
        )
    return Axes(_USUAL[len(shape)])


def check_axes(place: str, axes: Axes, shape: tuple[int, ...]) -> None:
    """Raise `UnsupportedFormat` unless an array has as many axes as are named, none of them empty."""
    if len(axes) != len(shape) or 0 in shape:
        cause = f"is an array of shape {shape}, not of the axes {', '.join(axes.letters)}"
        raise UnsupportedFormat(place, cause)


def channel_of(place: str, axes: Axes, shape: tuple[int, ...], *, index: int | None) -> int:
    """Return which channel is read: the one that was asked for, or the only one.

    Raises
    ------
    UnsupportedFormat
        There is no such channel, or there are several and none was chosen.
    """
    count = axes.size("c", shape)
    if index is None and count > 1:
        hint = f'choose one in the settings: "channel_index" from 0 to {count - 1}'
        raise UnsupportedFormat(place, f"holds {count} channels", hint=hint)
    if index is not None and not 0 <= index < count:
        raise UnsupportedFormat(place, f"holds {count} channels, there is no channel {index}")
    return index or 0
