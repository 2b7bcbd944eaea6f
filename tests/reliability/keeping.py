"""What there is in a store beside the objects of datasets."""

from __future__ import annotations

from collections.abc import Sequence

from tests.torture.bench import Bench


def strays(bench: Bench, present: Sequence[str]) -> list[str]:
    """The keys of objects that belong to none of the datasets that are present."""
    listed = [found.key for found in bench.db.store.list("")]
    return [key for key in listed if key.split("/")[1] not in present]
