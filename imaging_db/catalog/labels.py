"""Labels of an axis: its indices with their names, one statement, one step along an index for each."""

from __future__ import annotations

from typing import TypeAlias

from sqlalchemy import Connection, TextClause, text

Labels: TypeAlias = "list[tuple[int, str | None]]"


def _labels_of(index: str, name: str, order: str) -> TextClause:
    """Return what gives each index that is present, and the name in the first frame of it.

    Neither database jumps from one value to the next by itself for a DISTINCT: it would read every frame.
    """
    return text(
        f"""
        WITH RECURSIVE labels(place) AS (
            SELECT min({index}) FROM frames WHERE frames_global_id = :acquisition
            UNION ALL
            SELECT (
                SELECT min({index}) FROM frames
                WHERE frames_global_id = :acquisition AND {index} > labels.place
            ) FROM labels WHERE labels.place IS NOT NULL
        )
        SELECT place, (
            SELECT {name} FROM frames WHERE frames_global_id = :acquisition AND {index} = labels.place
            ORDER BY {order} LIMIT 1
        ) FROM labels WHERE place IS NOT NULL ORDER BY place
        """  # noqa: S608 - names of columns, written below
    )


_CHANNELS = _labels_of("channel_idx", "channel_name", "slice_idx, time_idx, pos_idx")
_POSITIONS = _labels_of("pos_idx", "position_name", "time_idx, channel_idx, slice_idx")


def channel_labels(connection: Connection, acquisition_id: int) -> Labels:
    """Return index and name of every channel that is present, by index."""
    return _read(connection, _CHANNELS, acquisition_id)


def position_labels(connection: Connection, acquisition_id: int) -> Labels:
    """Return index and name of every position that is present, by index."""
    return _read(connection, _POSITIONS, acquisition_id)


def _read(connection: Connection, labels: TextClause, acquisition_id: int) -> Labels:
    rows = connection.execute(labels, {"acquisition": acquisition_id})
    return [(place, name) for place, name in rows]
