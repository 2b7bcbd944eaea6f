"""Which frames are meant: channels by index or name, ranges of slices, timepoints and positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from imaging_db.errors import UsageError

if TYPE_CHECKING:
    from imaging_db.model.expression import Expression

Chosen: TypeAlias = "int | str | range | slice | Iterable[int | str | range | slice] | None"

_LARGEST_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class IndexRange:
    """Indices ``start, start + step, ...`` below ``stop``; ``stop`` None means without end."""

    start: int
    stop: int | None
    step: int = 1

    def __contains__(self, index: object) -> bool:
        if not isinstance(index, int) or index < self.start:
            return False
        below = self.stop is None or index < self.stop
        return below and (index - self.start) % self.step == 0

    @classmethod
    def parse(cls, text: str, option: str) -> IndexRange:
        """Return the range that ``text`` spells: ``7``, ``0:100``, ``0:100:5``, ``10:``, ``::2``.

        Raises
        ------
        UsageError
            Not whole numbers from 0, a step below 1, or a range that holds nothing.
        """
        parts = text.split(":")
        try:
            numbers = [int(part) if part.strip() else None for part in parts]
        except ValueError:
            raise _bad(text, option) from None
        if len(parts) > 3 or (len(parts) == 1 and numbers[0] is None):
            raise _bad(text, option)
        start = numbers[0] or 0
        stop = start + 1 if len(parts) == 1 else numbers[1]
        step = numbers[2] if len(parts) == 3 and numbers[2] is not None else 1
        if start < 0 or step < 1 or (stop is not None and stop <= start):
            raise _bad(text, option)
        if stop == start + 1:
            step = 1
        if max(start, step, stop or 0) > _LARGEST_INDEX:
            raise _bad(text, option)
        return cls(start, stop, step)

    def __str__(self) -> str:
        if self.stop == self.start + 1:
            return str(self.start)
        step = "" if self.step == 1 else f":{self.step}"
        return f"{self.start}:{'' if self.stop is None else self.stop}{step}"


@dataclass(frozen=True, slots=True)
class FrameSelection:
    """The frames that are meant. An axis that is None means all of it.

    ``channels`` and ``channel_names`` are alternatives; at most one of them is not None. ``where`` is
    asked of every frame beside them.
    """

    channels: tuple[IndexRange, ...] | None = None
    channel_names: tuple[str, ...] | None = None
    slices: tuple[IndexRange, ...] | None = None
    timepoints: tuple[IndexRange, ...] | None = None
    positions: tuple[IndexRange, ...] | None = None
    where: Expression | None = None

    @classmethod
    def from_text(
        cls,
        channels: Sequence[str] | None = None,
        *,
        slices: Sequence[str] | None = None,
        timepoints: Sequence[str] | None = None,
        positions: Sequence[str] | None = None,
        where: Expression | None = None,
    ) -> FrameSelection:
        """Return the selection that command-line words spell.

        Channels that are all numbers or ranges are indices, all others names; a mixture is refused.

        Raises
        ------
        UsageError
            Names the option and the word.
        """
        indices, names = _channels(channels)
        return cls(
            channels=indices,
            channel_names=names,
            slices=_ranges(slices, "-z"),
            timepoints=_ranges(timepoints, "-t"),
            positions=_ranges(positions, "-p"),
            where=where,
        )

    @classmethod
    def of(
        cls,
        channels: Chosen = None,
        *,
        slices: Chosen = None,
        timepoints: Chosen = None,
        positions: Chosen = None,
        where: Expression | None = None,
    ) -> FrameSelection:
        """Return the selection that Python values spell: an int, a range, a slice, or a list of them.

        Channels may also be a name or a list of names.

        Raises
        ------
        UsageError
            Names the axis and the value.
        """
        return cls.from_text(
            _words(channels, "channels"),
            slices=_words(slices, "slices"),
            timepoints=_words(timepoints, "timepoints"),
            positions=_words(positions, "positions"),
            where=where,
        )

    @property
    def everything(self) -> bool:
        """True where nothing is narrowed."""
        return self == FrameSelection()


def _channels(
    words: Sequence[str] | None,
) -> tuple[tuple[IndexRange, ...] | None, tuple[str, ...] | None]:
    if not words:
        return None, None
    numeric = [_looks_numeric(word) for word in words]
    if all(numeric):
        return _ranges(words, "-c"), None
    if any(numeric):
        raise UsageError(
            f"-c mixes indices and names: {' '.join(words)}",
            hint="give all by name or all by index",
        )
    return None, tuple(words)


def _looks_numeric(word: str) -> bool:
    return (
        bool(word)
        and all(char.isdigit() or char in ":-" for char in word)
        and any(char.isdigit() or char == ":" for char in word)
    )


def _ranges(words: Iterable[str] | None, option: str) -> tuple[IndexRange, ...] | None:
    ranges = tuple(IndexRange.parse(word, option) for word in words or ())
    return ranges or None


def _bad(text: str, option: str) -> UsageError:
    return UsageError(
        f"{option} {text!r} is neither a whole number from 0 nor a range such as 0:100:5",
        hint="the end of a range is not part of it",
    )


def _words(chosen: Chosen, axis: str) -> list[str] | None:
    if chosen is None:
        return None
    if isinstance(chosen, (int, str, range, slice)) or not hasattr(chosen, "__iter__"):
        return [_word(chosen, axis)]  # NumPy's integers cannot be iterated, its arrays can
    words = [_word(item, axis) for item in chosen]
    if not words:
        raise UsageError(f"{axis}: an empty list selects no frame", hint="leave it out to mean all")
    return words


def _word(item: object, axis: str) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, (range, slice)):
        parts = (
            [item.start, item.stop]
            if item.step in (None, 1)
            else [item.start, item.stop, item.step]
        )
        return ":".join("" if part is None else str(part) for part in parts)
    if hasattr(item, "__index__"):  # NumPy's integers too
        return str(item.__index__())
    raise UsageError(f"{axis}: {item!r} is neither an index, a range nor a name")
