"""A contact sheet: thumbnails of a sample of a dataset's frames on one page, as PNG."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from imaging_db.export.sheet_page import Cell, Page, Row
from imaging_db.export.thumbnail import SIDE, scaled, shrunk
from imaging_db.transfer.fetch import frame_bytes
from imaging_db.transfer.pool import REMOTE_GETS, pooled, worker_count

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from imaging_db.api import DatasetView

COLUMNS = 8
_MOST_ROWS = 6  # of thumbnails, where there are no more channels
_MOST_CHANNELS = 24


class Place(NamedTuple):
    """Where frames of all channels lie."""

    position: int
    timepoint: int
    slice: int


@dataclass(frozen=True, slots=True)
class _Shown:
    """One frame of the sheet: its row of the table, and its thumbnail."""

    row: Any
    thumbnail: npt.NDArray[Any]


def contact_sheet(view: DatasetView, table: pd.DataFrame) -> bytes:
    """Return a PNG with thumbnails of a sample of the frames of a `frame_table` that is not empty.

    A row of thumbnails a channel; positions and timepoints are spread evenly, at the middle slice, and
    slices where there is room. Each channel has one contrast: from the least 1st to the largest 99th
    percentile of its shown frames that are not suspicious. One frame a thread is in memory, no more.

    Raises
    ------
    IntegrityError
        The object of a frame is missing or damaged.
    """
    channels = table["channel_idx"].drop_duplicates().sort_values().tolist()
    places = chosen_places(table, COLUMNS * max(1, _MOST_ROWS // len(channels)))
    wanted = table[table["channel_idx"].isin(channels[:_MOST_CHANNELS])]
    wanted = wanted[_places_of(wanted).isin(places)]
    shown = dict(_read(view, wanted))
    page = Page(_title(view, shown, table, channels), _rows(shown, channels, places))
    target = io.BytesIO()
    page.drawn().save(target, format="PNG")
    return target.getvalue()


def chosen_places(table: pd.DataFrame, most: int) -> list[Place]:
    """Return up to ``most`` places: spread over positions and timepoints, then over slices."""
    pairs = sorted(set(zip(table["pos_idx"], table["time_idx"], strict=True)))
    pairs = _spread(pairs, most)
    slices = _around_the_middle(sorted(set(table["slice_idx"])), most // len(pairs))
    return [Place(int(p), int(t), int(z)) for p, t in pairs for z in slices]


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return up to ``most`` items, two at least, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _around_the_middle(items: Sequence[Any], most: int) -> list[Any]:
    """Return up to ``most`` items, an odd number, evenly spread, the middle one among them."""
    if len(items) <= most:
        return list(items)
    count = most - 1 + most % 2
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _places_of(table: pd.DataFrame) -> pd.Series[Any]:
    import pandas as pd

    columns = (table["pos_idx"], table["time_idx"], table["slice_idx"])
    return pd.Series(list(zip(*columns, strict=True)), index=table.index, dtype=object)


def _read(view: DatasetView, wanted: pd.DataFrame) -> Iterator[tuple[tuple[int, Place], _Shown]]:
    def thumbnail(row: Any) -> _Shown:
        frames = view.frames(
            int(row.channel_idx),
            slices=int(row.slice_idx),
            timepoints=int(row.time_idx),
            positions=int(row.pos_idx),
        )
        (frame,) = frames
        return _Shown(row, shrunk(frames.read(frame), SIDE))

    remote = REMOTE_GETS if view.dataset.storage == "s3" else 0
    workers = worker_count(None, frame_bytes=frame_bytes(view.acquisition), remote=remote)
    rows = wanted.itertuples(index=False)
    with closing(pooled(thumbnail, rows, workers=workers)) as results:
        for one in results:
            place = Place(one.row.pos_idx, one.row.time_idx, one.row.slice_idx)
            yield (one.row.channel_idx, place), one


def _rows(
    shown: dict[tuple[int, Place], _Shown], channels: Sequence[int], places: Sequence[Place]
) -> list[Row]:
    """Return the rows of thumbnails: a block of all channels for up to `COLUMNS` places."""
    scales = {channel: _contrast(shown, channel) for channel in channels[:_MOST_CHANNELS]}
    rows = []
    blocks = -(-len(places) // COLUMNS)
    width = -(-len(places) // blocks)
    for start in range(0, len(places), width):
        block = places[start : start + width]
        for channel, scale in scales.items():
            cells = [_cell(shown.get((channel, place)), place, scale) for place in block]
            name = next((c.row.channel_name for k, c in shown.items() if k[0] == channel), None)
            label = name if isinstance(name, str) and name else f"channel {channel}"
            rows.append(Row(label, f"{scale[0]:.6g} to {scale[1]:.6g}", cells))
    return rows


def _cell(one: _Shown | None, place: Place, scale: tuple[float, float]) -> Cell:
    if one is None:
        return Cell(_label(place, None), None, "absent")
    return Cell(
        _label(place, one.row.position_name), scaled(one.thumbnail, *scale), one.row.flagged
    )


def _label(place: Place, position_name: Any) -> str:
    named = isinstance(position_name, str) and position_name
    position = position_name if named else f"p{place.position}"
    return f"{position}  t{place.timepoint}  z{place.slice}"


def _contrast(shown: dict[tuple[int, Place], _Shown], channel: int) -> tuple[float, float]:
    """Return the grey values that become black and white; what is not measured tells by its thumbnail."""
    import numpy as np

    mine = [one for (index, _), one in shown.items() if index == channel]
    good = [one for one in mine if one.row.flagged in ("", "repeat")] or mine
    low = [one.row.intensity_p01 for one in good if one.row.intensity_p01 == one.row.intensity_p01]
    high = [one.row.intensity_p99 for one in good if one.row.intensity_p99 == one.row.intensity_p99]
    if low and high and min(low) < max(high):
        return float(min(low)), float(max(high))
    finite = [one.thumbnail[np.isfinite(one.thumbnail)] for one in good]
    values = np.concatenate([np.zeros(0), *(one.ravel() for one in finite)])
    if not values.size:
        return 0.0, 1.0
    return float(np.percentile(values, 1)), float(np.percentile(values, 99))


def _title(
    view: DatasetView,
    shown: dict[tuple[int, Place], _Shown],
    table: pd.DataFrame,
    channels: Sequence[int],
) -> tuple[str, str]:
    said = f"{len(shown)} of {len(table)} frames"
    if len(channels) > _MOST_CHANNELS:
        said += f", {_MOST_CHANNELS} of {len(channels)} channels"
    said += "; contrast of each channel: 1st to 99th percentile; framed in red: suspicious"
    return view.dataset.serial, said
