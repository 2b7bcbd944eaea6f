"""The extent of an acquisition: how far the indices of its frames reach, read from the ends of indexes."""

from __future__ import annotations

from typing import TypeAlias

from sqlalchemy import Connection, text

Extent: TypeAlias = dict[str, int | None]
"""For each index column the number above its largest; None where that is not known cheaply."""

_MOST_STEPS = 1000

# The largest slice of each channel is the end of a stretch of one index, the largest timepoint of each
# position that of the other. So this reads one entry for each channel and position, however many frames.
_ENDS = text(
    """
    WITH RECURSIVE
    channels(c) AS (
        SELECT max(channel_idx) FROM frames WHERE frames_global_id = :acquisition
        UNION ALL
        SELECT c - 1 FROM channels WHERE c BETWEEN 1 AND :most
    ),
    positions(p) AS (
        SELECT max(pos_idx) FROM frames WHERE frames_global_id = :acquisition
        UNION ALL
        SELECT p - 1 FROM positions WHERE p BETWEEN 1 AND :most
    )
    SELECT
        (SELECT max(c) FROM channels),
        (SELECT max((
            SELECT slice_idx FROM frames WHERE frames_global_id = :acquisition AND channel_idx = c
            ORDER BY slice_idx DESC LIMIT 1
        )) FROM channels),
        (SELECT max((
            SELECT time_idx FROM frames WHERE frames_global_id = :acquisition AND pos_idx = p
            ORDER BY time_idx DESC LIMIT 1
        )) FROM positions),
        (SELECT max(p) FROM positions)
    """
)


def extent_of(connection: Connection, acquisition_id: int) -> Extent:
    """Return how far the frames reach on each axis, by the name of its column.

    Slices are unknown where there are more than `_MOST_STEPS` channels, and timepoints where there are
    more positions than that.
    """
    found = connection.execute(_ENDS, {"acquisition": acquisition_id, "most": _MOST_STEPS}).one()
    channels, slices, timepoints, positions = found
    if channels is None:
        return dict.fromkeys(("channel_idx", "slice_idx", "time_idx", "pos_idx"), 0)
    return {
        "channel_idx": channels + 1,
        "slice_idx": slices + 1 if channels <= _MOST_STEPS else None,
        "time_idx": timepoints + 1 if positions <= _MOST_STEPS else None,
        "pos_idx": positions + 1,
    }
