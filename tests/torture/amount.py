"""How much is tortured: little by default, as ``IMAGING_DB_TEST_TORTURE`` says in `make torture`.

1 takes minutes on two cores and injects some thousands of faults, 2 leaves nothing out. IMAGING_DB_TEST_SEED
repeats what chance chose; it is printed where something fails.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

from tests.support.killed import SEED

T = TypeVar("T")

LEVEL = int(os.environ.get("IMAGING_DB_TEST_TORTURE", "") or 0)
"""Read now, because tests run in a clean environment."""

FULL = LEVEL > 0
THINNED = pytest.mark.thinned
"""What is tried in the torture only, though it injects no fault of the matrix."""


def few_or(few: int, many: int) -> int:
    """How often something is done."""
    return many if FULL else few


def thinned(items: Sequence[T], share: int, *, offset: int, at_length: int = 1) -> list[T]:
    """Every ``share``-th item from an offset on; every ``at_length``-th at level 1, all at level 2."""
    step = share if LEVEL == 0 else at_length if LEVEL == 1 else 1
    return list(items[offset % step :: step])


def daily(items: Iterable[Any], share: int, *, offset: int = 0) -> list[ParameterSet]:
    """Parameters of which every ``share``-th is tried every day, and all are in `make torture`.

    Those that a day leaves out bear the mark by which the torture finds them: ``thinned``.
    """
    found = []
    for number, item in enumerate(items):
        one = item if isinstance(item, ParameterSet) else pytest.param(item)
        if number % share == offset:
            found.append(one)
        elif FULL:
            found.append(pytest.param(*one.values, marks=[*one.marks, THINNED], id=one.id))
    return found


def chance(name: str) -> random.Random:
    """Randomness of its own for each test; prints the seed that repeats it."""
    print(f"IMAGING_DB_TEST_SEED={SEED}")
    return random.Random(f"{SEED} {name}")
