"""Removing things below a dataset that stays, a portion at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from imaging_db.catalog import Catalog
from imaging_db.model import Dataset
from imaging_db.stores.base import ObjectInfo

One = TypeVar("One", bound=ObjectInfo)

_AT_ONCE = 100
_HELD_SECONDS = 2.0


def remove_held(
    catalog: Catalog, dataset: Dataset, found: Iterable[One], remove: Callable[[One], None]
) -> None:
    """Remove things below a ready dataset while it can be neither deleted nor replaced.

    Others wait meanwhile, so it is let go for a moment every few seconds.

    Raises
    ------
    DatasetNotFound
        It is not any more what it was; what is left stays.
    """
    for portion in _portions(found):
        while portion:
            catalog.while_ready(dataset, partial(_empty, portion, remove))


def _portions(found: Iterable[One]) -> Iterator[deque[One]]:
    rest = iter(found)
    while portion := deque(islice(rest, _AT_ONCE)):
        yield portion


def _empty(portion: deque[One], remove: Callable[[One], None]) -> None:
    """Remove what is in a portion, for a short time; what is done is not done again."""
    until = time.monotonic() + _HELD_SECONDS
    while portion and time.monotonic() < until:
        remove(portion[0])
        portion.popleft()
