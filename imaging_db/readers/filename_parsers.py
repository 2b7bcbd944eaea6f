"""How a file name tells where its frame lies: pure functions from a name to a `ParsedName`.

The three named parsers are those of imagingDB's configs. More come from installed packages through the
entry point group ``imaging_db.filename_parsers``: a function that takes a file's base name and returns
a `ParsedName`, or raises ValueError where the name is not of its form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import TypeAlias

from imaging_db.errors import UnknownPlugin
from imaging_db.model import JSONObject

ENTRY_POINTS = "imaging_db.filename_parsers"

_EXTENSION = re.compile(r"(\.ome)?\.tiff?$", re.IGNORECASE)
_DIGITS = re.compile(r"([0-9]+)")
_SMS = re.compile(r"img_(?P<channel>.+?)(?P<indices>(?:_[tpz][0-9]+){3})")
_SMS_AXES = {"t": "timepoint", "p": "position", "z": "slice"}
_ORDER_AXES = {"c": "channel", "z": "slice", "t": "timepoint", "p": "position"}


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What one file name tells.

    An index is None where the name does not tell it. A channel or position that has a name and no
    index gets its index from the order of first appearance. ``running`` is a number without a label;
    its rank becomes the timepoint. ``global_metadata`` is about the whole dataset, ``metadata`` about
    this file.
    """

    channel: int | None = None
    slice: int | None = None
    timepoint: int | None = None
    position: int | None = None
    channel_name: str | None = None
    position_name: str | None = None
    running: int | None = None
    global_metadata: JSONObject = field(default_factory=dict)
    metadata: JSONObject = field(default_factory=dict)

    @classmethod
    def at(cls, indices: Mapping[str, int], *, channel_name: str | None = None) -> ParsedName:
        """Return a name that tells ``indices`` by axis: channel, slice, timepoint, position."""
        return cls(
            channel=indices.get("channel"),
            slice=indices.get("slice"),
            timepoint=indices.get("timepoint"),
            position=indices.get("position"),
            channel_name=channel_name,
        )


FilenameParser: TypeAlias = Callable[[str], ParsedName]


def stem_of(name: str) -> str:
    """Return a file name without folder and without ``.tif``, ``.tiff`` or ``.ome.tif``."""
    return _EXTENSION.sub("", re.split(r"[\\/]", name)[-1])


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a sort key by which ``MAX9`` comes before ``MAX10``; ties are broken by the name itself."""
    parts = _DIGITS.split(name.casefold())
    key = [(int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts)]
    return key, name


def parse_ml_name(name: str) -> ParsedName:
    """Return plate, stack number and protein of ``<plate>_<stack number>_<protein>_...`` for the dataset.

    Raises
    ------
    ValueError
        Fewer than three parts, or a stack number that is no whole number.
    """
    parts = stem_of(name).split("_")
    if len(parts) < 3 or not parts[1].isascii() or not parts[1].isdigit():
        raise ValueError("the name is not <plate>_<stack number>_<protein>_...")
    told: JSONObject = {
        "plate_id": parts[0],
        "stack_nbr": int(parts[1]),
        "protein_name": parts[2],
    }
    return ParsedName(global_metadata=told)


def parse_sms_name(name: str) -> ParsedName:
    """Return channel and indices of ``img_<channel>_t000_p000_z000``, the last three in any order.

    The channel may hold underscores; channels are numbered by first appearance in natural order.

    Raises
    ------
    ValueError
        Another form, or an axis that is told twice.
    """
    found = _SMS.fullmatch(stem_of(name))
    if found is None:
        raise ValueError("the name is not img_<channel>_t000_p000_z000")
    parts = found["indices"].strip("_").split("_")
    indices = {_SMS_AXES[part[0]]: int(part[1:]) for part in parts}
    if len(indices) < len(parts):
        raise ValueError(f"the name tells an axis twice: {found['indices']}")
    return ParsedName(
        channel_name=found["channel"],
        timepoint=indices["timepoint"],
        position=indices["position"],
        slice=indices["slice"],
    )


def parse_idx_from_name(name: str, *, order: str = "cztp") -> ParsedName:
    """Return the four whole numbers of a name as indices; ``order`` says which is which.

    The channel's name is its index. In a config the order may follow a colon:
    ``parse_idx_from_name:tpzc``.

    Raises
    ------
    ValueError
        Not exactly four numbers, or an order that does not name each of c, z, t, p once.
    """
    if sorted(order) != sorted(_ORDER_AXES):
        raise ValueError(f"the order {order!r} does not hold each of c, z, t, p once")
    numbers = [int(number) for number in _DIGITS.findall(stem_of(name))]
    if len(numbers) != len(_ORDER_AXES):
        raise ValueError(f"the name holds {len(numbers)} whole numbers instead of four")
    indices = dict(zip((_ORDER_AXES[letter] for letter in order), numbers, strict=True))
    return ParsedName.at(indices, channel_name=str(indices["channel"]))


_BUILT_IN: Mapping[str, FilenameParser] = {
    "parse_idx_from_name": parse_idx_from_name,
    "parse_ml_name": parse_ml_name,
    "parse_sms_name": parse_sms_name,
}


def available_parsers() -> tuple[str, ...]:
    """Return the names of all filename parsers, those of installed packages among them."""
    installed = (entry.name for entry in metadata.entry_points(group=ENTRY_POINTS))
    return tuple(sorted({*_BUILT_IN, *installed}))


def get_parser(name: str) -> FilenameParser:
    """Return the filename parser of that name.

    Raises
    ------
    UnknownPlugin
        No parser has that name, or the package that promises it cannot be imported.
    """
    base, _, order = name.partition(":")
    if base == "parse_idx_from_name" and sorted(order) == sorted(_ORDER_AXES):
        return partial(parse_idx_from_name, order=order)
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    for entry in metadata.entry_points(group=ENTRY_POINTS, name=name):
        try:
            parser: FilenameParser = entry.load()
        except (ImportError, AttributeError) as error:
            raise UnknownPlugin("filename parser", name, available_parsers()) from error
        return parser
    raise UnknownPlugin("filename parser", name, available_parsers())
