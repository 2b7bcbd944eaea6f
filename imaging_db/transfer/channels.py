"""Channels whose name is a number, such as the laser line ``405``."""

from __future__ import annotations

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
