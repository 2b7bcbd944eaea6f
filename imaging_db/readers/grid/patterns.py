"""Patterns: how the name of a file tells which tile or plane it holds, and back.

``{z:04}/{row}_{col}.png``: a field in braces is the number of the tile's ``row`` or ``col``, of its upper left
pixel (``y``, ``x``), of ``z`` or ``t``, all as the source counts them. ``:04`` fills with zeros up to four
digits; ``{z+200}`` and ``{z-1}`` add to the number. Any other field, such as ``{resolution}``, stands for what
the settings' ``values`` say. ``{{`` and ``}}`` are braces of the name itself.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from imaging_db.errors import ConfigError

_FIELD = re.compile(r"([a-z_]+)([+-]\d{1,9})?")
_WIDTH = re.compile(r"0?(\d{1,2})d?")
_DRIVE = re.compile(r"[A-Za-z]:")
_MOST_DIGITS = 10  # the largest index has ten


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a name: which one, what is added to it, and how many digits it has at least."""

    field: str
    added: int = 0
    width: int = 0

    def text(self, value: int) -> str:
        """Return the number as the name spells it.

        Raises
        ------
        ValueError
            It would be below 0.
        """
        number = value + self.added
        if number < 0:
            raise ValueError(f"{self.field} {value} has no name: {number} is below 0")
        return str(number).zfill(self.width)


Part = str | Number


@dataclass(frozen=True)
class Pattern:
    """The names of one source. Two different sets of numbers never have one name.

    Raises
    ------
    ConfigError
        A pattern that cannot be read, leads out of its folder, or has numbers that run into each other.
    """

    text: str
    parts: tuple[Part, ...]

    @classmethod
    def of(
        cls, text: str, fields: Sequence[str], values: Mapping[str, str | int] | None = None
    ) -> Pattern:
        """Return the pattern that a text spells; ``fields`` are the numbers that it may have."""
        parts: list[Part] = []
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigError(f"pattern: {text!r}: {error}", hint="write a brace twice") from error
        for literal, name, form, conversion in pieces:
            parts.append(literal)
            if name is not None:
                parts.append(_part(text, name, form or "", conversion, fields, values or {}))
        made = cls(text, tuple(_joined(parts)))
        _check_inside(made)
        _check_apart(made)
        return made

    @property
    def fields(self) -> frozenset[str]:
        """Return which numbers a name tells."""
        return frozenset(part.field for part in self.parts if isinstance(part, Number))

    def name(self, numbers: Mapping[str, int]) -> str:
        """Return the name for these numbers, with ``/`` between folders.

        Raises
        ------
        ValueError
            A number has no name: below 0, or of too many digits where names have a fixed number of them.
        """
        made = ""
        for index, part in enumerate(self.parts):
            if isinstance(part, str):
                made += part
                continue
            digits = part.text(numbers[part.field])
            if len(digits) > part.width and _is_fixed(self.parts, index):
                raise ValueError(f"{part.field} {digits} has more than {part.width} digits")
            made += digits
        return made

    def match(self, name: str) -> dict[str, int] | None:
        """Return the numbers of a name, None of a name that these numbers would not have."""
        found = self._expression.fullmatch(name)
        if found is None:
            return None
        numbers: dict[str, int] = {}
        for part, group in zip(self._numbers, found.groups(), strict=True):
            value = int(group) - part.added
            if value < 0 or numbers.setdefault(part.field, value) != value:
                return None
        return numbers if self.name(numbers) == name else None

    @cached_property
    def _numbers(self) -> list[Number]:
        return [part for part in self.parts if isinstance(part, Number)]

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        made = ""
        for index, part in enumerate(self.parts):
            if isinstance(part, str):
                made += re.escape(part)
            elif _is_fixed(self.parts, index):
                made += rf"([0-9]{{{part.width}}})"
            else:
                made += rf"([0-9]{{{max(1, part.width)},{max(_MOST_DIGITS, part.width)}}})"
        return re.compile(made)


def _part(
    text: str,
    name: str,
    form: str,
    conversion: str | None,
    fields: Sequence[str],
    values: Mapping[str, str | int],
) -> Part:
    found = _FIELD.fullmatch(name)
    width = _WIDTH.fullmatch(form) if form and form != "d" else None
    if found is None or conversion or (form not in ("", "d") and width is None):
        raise ConfigError(
            f"pattern: {text!r}: the field {name!r} cannot be read",
            hint="a field is such as {z}, {z:04} or {z+200:04}",
        )
    if found[1] in fields:
        return Number(found[1], int(found[2] or 0), int(width[1]) if width else 0)
    if found[1] not in values:
        known = ", ".join(fields)
        raise ConfigError(
            f"pattern: {text!r}: nothing is known of the field {found[1]!r}",
            hint=f"fields are {known}; others are given in 'values'",
        )
    value = values[found[1]]
    return str(value).zfill(int(width[1])) if width else str(value)


def _joined(parts: Sequence[Part]) -> list[Part]:
    """Return the parts with texts that follow each other put together, and no empty ones."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, str) and made and isinstance(made[-1], str):
            made[-1] += part
        elif part != "":
            made.append(part)
    return made


def _is_fixed(parts: Sequence[Part], index: int) -> bool:
    """Return True of a number that the next follows at once: only its width tells them apart."""
    return index + 1 < len(parts) and isinstance(parts[index + 1], Number)


def _check_inside(pattern: Pattern) -> None:
    shown = "".join(part if isinstance(part, str) else "0" for part in pattern.parts)
    outside = not {"", ".", ".."}.isdisjoint(shown.split("/"))
    if outside or "\\" in shown or "\0" in shown or _DRIVE.match(shown):
        raise ConfigError(
            f"pattern: {pattern.text!r} does not stay inside its folder",
            hint="write it relative to the root, with / between folders",
        )


def _check_apart(pattern: Pattern) -> None:
    """Numbers that digits or nothing separate could be told in two ways: 1 and 11, or 11 and 1."""
    before: Number | None = None
    between = ""
    for part in pattern.parts:
        if isinstance(part, str):
            between = part
            continue
        if before is not None and (between.isdecimal() or (not between and not before.width)):
            raise _together(pattern, before, part)
        before, between = part, ""


def _together(pattern: Pattern, before: Number, after: Number) -> ConfigError:
    return ConfigError(
        f"pattern: {pattern.text!r}: the numbers {before.field} and {after.field} run into each other",
        hint="put a character between them, or give the first a width such as {z:04}",
    )
