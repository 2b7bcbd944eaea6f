"""NDTiff's free axes as channel, slice, timepoint and position.

An axis value is a whole number or, since version 3.2, a label. Numbers stay what they are, gaps
included. Labels become indices one to one: ``Pos2`` is position 2 where all labels are one text with one
number in it and the numbers differ; otherwise labels count by first appearance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from imaging_db.model import FrameCoords, JSONObject, JSONValue
from imaging_db.readers.micro_manager_text import parse_names
from imaging_db.readers.ndtiff_index import Axes
from imaging_db.readers.placement import Placement

_KNOWN = ("channel", "z", "time", "position", "row", "column")
_NUMBER = re.compile(r"\d+", re.ASCII)
_Value = int | str | tuple[int | str | None, ...] | None


def place_axes(images: Sequence[Axes], summary: JSONObject) -> list[Placement]:
    """Return where each image lies; ``summary`` may name the channels' order and the positions.

    Rows and columns of tiles become positions. Negative numbers, which exploring writes, are shifted so
    that the lowest is 0. An image without an axis lies at that axis' 0.

    Raises
    ------
    ValueError
        An axis that is none of these holds more than one value.
    """
    _check_other_axes(images)
    names = parse_names(summary.get("ChNames"))
    channels = [image.get("channel") for image in images]
    positions = [_position(image) for image in images]
    columns = zip(
        _indices(channels, order=names, numbered=False),
        _indices([image.get("z") for image in images]),
        _indices([image.get("time") for image in images]),
        _indices(positions),
        strict=True,
    )
    stage = _stage_names(summary)
    return [
        Placement(
            FrameCoords(*column),
            channel_name=_name(channel, names),
            position_name=_name(position, stage),
        )
        for column, channel, position in zip(columns, channels, positions, strict=True)
    ]


def _check_other_axes(images: Sequence[Axes]) -> None:
    others = sorted({axis for image in images for axis in image} - set(_KNOWN))
    for axis in others:
        values = dict.fromkeys(image[axis] for image in images if axis in image)
        if len(values) > 1:
            shown = ", ".join(str(value) for value in list(values)[:3])
            raise ValueError(
                f"has an axis {axis!r} with {len(values)} values ({shown}, ...), which is neither "
                "channel, z, time, position, row nor column"
            )


def _position(image: Axes) -> _Value:
    if "row" not in image and "column" not in image:
        return image.get("position")
    return image.get("position"), image.get("row"), image.get("column")


def _indices(
    values: Sequence[_Value], *, order: Sequence[str] = (), numbered: bool = True
) -> list[int]:
    """Return an index for each value, one to one; ``numbered`` labels hold theirs (unlike ``Cy5``)."""
    distinct = list(dict.fromkeys(values))
    labelled = any(isinstance(value, str) for value in distinct)
    numbers = _as_numbers(distinct) if numbered or not labelled else None
    if numbers is None and set(distinct) <= set(order):
        numbers = [order.index(str(value)) for value in distinct]
    if numbers is None:
        numbers = list(range(len(distinct)))
    index = dict(zip(distinct, numbers, strict=True))
    return [index[value] for value in values]


def _as_numbers(values: Sequence[_Value]) -> list[int] | None:
    """Return the numbers that distinct values are or hold, None where they do not count one to one."""
    numbers: list[int] = []
    texts: set[str] = set()
    for value in values:
        if isinstance(value, int):
            numbers.append(value)
        elif isinstance(value, str) and len(found := _NUMBER.findall(value)) == 1:
            numbers.append(int(found[0]))
            texts.add(_NUMBER.sub("#", value))
        elif value is None and all(isinstance(other, int | None) for other in values):
            numbers.append(0)
        else:
            return None
    if len(texts) > 1 or (texts and len(set(numbers)) < len(numbers)):
        return None
    lowest = min(0, min(numbers))
    return [number - lowest for number in numbers]


def _name(value: _Value, names: Sequence[str]) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return None if value is None else _tile_name(value)


def _tile_name(value: Iterable[int | str | None]) -> str:
    parts = zip(("", "row ", "column "), value, strict=True)
    return ", ".join(f"{label}{part}" for label, part in parts if part is not None)


def _stage_names(summary: JSONObject) -> tuple[str, ...]:
    """Return the labels of the stage positions, which Micro-Manager lists in the summary."""
    listed = summary.get("StagePositions") or summary.get("InitialPositionList")
    labels = [_label(item) for item in listed] if isinstance(listed, list) else []
    return tuple(label for label in labels if label) if all(labels) else ()


def _label(item: JSONValue) -> str:
    label = (item.get("Label") or item.get("label")) if isinstance(item, dict) else None
    return label if isinstance(label, str) else ""
