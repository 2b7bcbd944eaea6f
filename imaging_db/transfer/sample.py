"""A random sample of a dataset's objects, the same one for the same seed."""

from __future__ import annotations

import math
import random
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from imaging_db.errors import UsageError

Item = TypeVar("Item")
_MOST_SEEDS = 10**9


@dataclass(frozen=True, slots=True)
class Sample:
    """How many objects of each dataset are looked at: ``number``, or ``percent`` of them; and which.

    ``text`` is how a user wrote it. The same seed chooses the same objects of the same dataset.
    """

    text: str
    number: int | None
    percent: float | None
    seed: int = field(default_factory=lambda: secrets.randbelow(_MOST_SEEDS))

    @classmethod
    def parse(cls, text: str, *, seed: int | None = None) -> Sample:
        """Return the sample that ``100`` or ``10%`` means, with a seed of its own where none is given.

        Raises
        ------
        UsageError
            Neither, or nothing at all, or more than everything.
        """
        seed = secrets.randbelow(_MOST_SEEDS) if seed is None else seed
        share = text.removesuffix("%").strip()
        try:
            value = float(share) if share != text else int(text)
        except ValueError:
            value = 0
        if share != text and 0 < value <= 100:
            return cls(text, None, value, seed)
        if share == text and value >= 1:
            return cls(text, int(value), None, seed)
        raise UsageError(
            f"--sample: {text!r} is neither a number of objects nor a share of them",
            hint="write a number from 1, such as 100, or a share such as 10%",
        )

    def size(self, total: int) -> int:
        """Return how many of ``total`` objects it has; at least one, if there is one."""
        wanted = self.number if self.percent is None else math.ceil(total * self.percent / 100)
        return min(total, wanted or 0)

    def chosen(self, items: Iterable[Item], *, total: int, name: str) -> Iterator[Item]:
        """Yield the sample of ``total`` items in their order; holds none of them.

        Each item is taken with the probability that is needed to come out with the right number, which
        makes every sample of that size equally likely (selection sampling: Knuth, The Art of Computer
        Programming, volume 2, 3.4.2, algorithm S).
        """
        chance = random.Random(f"{self.seed} {name}")  # noqa: S311 - nothing secret
        wanted, left = self.size(total), total
        for item in items:
            if wanted <= 0:
                return
            if chance.random() * left < wanted:
                wanted -= 1
                yield item
            left -= 1
