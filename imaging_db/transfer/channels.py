"""Channels and positions that are asked for: by index, by name, or by a name that is a number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from imaging_db.catalog import Catalog
from imaging_db.model import FrameSelection, IndexRange


def with_numeric_names(catalog: Catalog, serial: str, selection: FrameSelection) -> FrameSelection:
    """Return a selection in which ``405`` means the channel of that name, if no index is 405.

    Numbers are indices, as imagingDB read them; only a number that is no index of this dataset can be
    a name.
    """
    if not selection.channels:
        return selection
    channels = catalog.channels(serial)
    indices = {index for index, _ in channels}
    named = {name: index for index, name in channels if name}

    def meant(chosen: IndexRange) -> IndexRange:
        single = chosen.stop == chosen.start + 1
        if not single or chosen.start in indices or str(chosen.start) not in named:
            return chosen
        index = named[str(chosen.start)]
        return IndexRange(index, index + 1)

    return replace(selection, channels=tuple(map(meant, selection.channels)))


def absent(catalog: Catalog, serial: str, selection: FrameSelection) -> list[str]:
    """Return what was asked for by itself, not as part of a range, and is not there: ``channel GFP``."""
    found: list[str] = []
    if selection.channel_names or selection.channels:
        channels = catalog.channels(serial)
        names = {name for _, name in channels}
        found += [f"channel {name}" for name in selection.channel_names or () if name not in names]
        found += _absent_indices("channel", selection.channels, {index for index, _ in channels})
    if selection.positions:
        positions = {index for index, _ in catalog.positions(serial)}
        found += _absent_indices("position", selection.positions, positions)
    return found


def _absent_indices(axis: str, asked: Iterable[IndexRange] | None, there: set[int]) -> list[str]:
    single = [chosen.start for chosen in asked or () if chosen.stop == chosen.start + 1]
    return [f"{axis} {index}" for index in single if index not in there]
