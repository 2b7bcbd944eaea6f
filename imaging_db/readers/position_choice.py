"""Which positions are meant by numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from imaging_db.errors import ReaderError

_NUMBERED = re.compile(r"[A-Za-z]+[ _-]?([0-9]{1,10})")


def position_numbers(names: Mapping[int, str]) -> dict[int, int]:
    """Return the number by which each position index is picked.

    It is the number in the name where every name is letters and a number and no two share it (``Pos12``
    is 12, never ``Pos1``). Otherwise, as with grid labels (``1-Pos_000_001``), it is the index itself:
    the place in the list of positions that was acquired.
    """
    numbers = {index: position_number(name) for index, name in names.items()}
    if None in numbers.values() or len(set(numbers.values())) < len(numbers):
        return {index: index for index in names}
    return {index: number for index, number in numbers.items() if number is not None}


def position_number(label: str) -> int | None:
    """Return the number of a label such as ``Pos12``, None for grid labels and free names."""
    found = _NUMBERED.fullmatch(label.strip())
    return int(found[1]) if found else None


def chosen_positions(source: Path, names: Mapping[int, str], wanted: Sequence[int]) -> set[int]:
    """Return the indices of the positions whose numbers are ``wanted``.

    Raises
    ------
    ReaderError
        A number that no position has; the hint lists those that exist.
    """
    by_number = {number: index for index, number in position_numbers(names).items()}
    unknown = [number for number in wanted if number not in by_number]
    if unknown or not wanted:
        cause = f"has no position {unknown[0]}" if unknown else "no position is chosen"
        exist = ", ".join(
            f"{n} ({names[i] or 'unnamed'})" for n, i in sorted(by_number.items())[:50]
        )
        raise ReaderError(source, cause, hint=f"its positions are {exist}")
    return {by_number[number] for number in wanted}
