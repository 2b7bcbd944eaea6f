"""How much is tortured: little by default, as ``IMAGING_DB_TEST_TORTURE`` says in `make torture`.

1 takes minutes on two cores and injects some thousands of faults, 2 leaves nothing out. IMAGING_DB_TEST_SEED
repeats what chance chose; it is printed where something fails.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

from tests.support.killed import SEED

T = TypeVar("T")

LEVEL = int(os.environ.get("IMAGING_DB_TEST_TORTURE", "") or 0)
"""Read now, because tests run in a clean environment."""

FULL = LEVEL > 0


def few_or(few: int, many: int) -> int:
    """How often something is done."""
    return many if FULL else few


def thinned(items: Sequence[T], share: int, *, offset: int, at_length: int = 1) -> list[T]:
    """Every ``share``-th item from an offset on; every ``at_length``-th at level 1, all at level 2."""
    step = share if LEVEL == 0 else at_length if LEVEL == 1 else 1
    return list(items[offset % step :: step])


def chance(name: str) -> random.Random:
    """Randomness of its own for each test; prints the seed that repeats it."""
    print(f"IMAGING_DB_TEST_SEED={SEED}")
    return random.Random(f"{SEED} {name}")
