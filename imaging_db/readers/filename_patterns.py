"""The names that instruments give to series of TIFF files, recognised without configuration.

A folder's names are read together: what varies between them tells what they count. First come whole
forms that one program writes; then labels (``z003``, ``ch00``, ``t01xy02c1``), one text that varies (a
channel's name), and one number without label that varies (the timepoint). Names that need more than
that are refused, because a guess could put two frames in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from imaging_db.model import JSONObject
from imaging_db.readers.filename_parsers import ParsedName, stem_of

# Each group is an axis of `ParsedName` or a part of the position's name (well, row, column, field).
_FORMS = tuple(
    re.compile(form, re.DOTALL | re.ASCII)
    for form in (
        # Micro-Manager 1.3 and 1.4; the channel's name may be empty
        r"img_(?P<timepoint>\d{9})_(?P<channel_name>.*)_(?P<slice>\d{3,})",
        # imagingDB's own, see `parse_sms_name`
        r"img_(?P<channel_name>.+?)(?=(?:_[tpz]\d+){3}$)(?=.*_t(?P<timepoint>\d+))"
        r"(?=.*_p(?P<position>\d+))(?=.*_z(?P<slice>\d+)).*",
        # Opera and Operetta (Harmony)
        r"r(?P<row>\d+)c(?P<column>\d+)f(?P<field>\d+)p(?P<slice>\d+)"
        r"-ch(?P<channel>\d+)sk(?P<timepoint>\d+)fk\d+fl\d+",
        # CellVoyager
        r".*_(?P<well>[A-P]\d{2})_T(?P<timepoint>\d+)F(?P<field>\d+)L\d+A\d+"
        r"Z(?P<slice>\d+)C(?P<channel>\d+)",
        # CellVoyager CQ1
        r"(?:.*_)?W(?P<well>\d{4})F(?P<field>\d{4})T(?P<timepoint>\d{4})Z(?P<slice>\d{3})"
        r"C(?P<channel>\d)",
        # IN Cell Analyzer
        r"(?P<row>[A-P]) - (?P<column>\d+)\(fld (?P<field>\d+)(?: wv (?P<channel_name>.+?))?"
        r"(?: time (?P<timepoint>\d+)(?: - \d+ ms)?)?(?: z (?P<slice>\d+))?\)",
        # ArrayScan
        r".*_(?P<well>[A-P]\d{2})f(?P<field>\d+)d(?P<channel>\d+)",
        # ScanR
        r"(?P<rest>.*?)--W(?P<well>\d+)--P(?P<field>\d+)--Z(?P<slice>\d+)--T(?P<timepoint>\d+)"
        r"--(?P<channel_name>.+)",
    )
)
_INDICES = ("channel", "slice", "timepoint", "position")
_PLACES = ("well", "row", "column", "field")

_LABELS = {
    "channel": ("channel", "wavelength", "chan", "ch", "c", "w"),
    "slice": ("zplane", "slice", "plane", "z"),
    "timepoint": ("timepoint", "time", "frame", "tp", "t"),
    "position": (
        "position",
        "stage",
        "field",
        "scene",
        "tile",
        "site",
        "pos",
        "fov",
        "xy",
        "p",
        "s",
    ),
}
_AXIS = {label: axis for axis, labels in _LABELS.items() for label in labels}
_ANY = "|".join(sorted(_AXIS, key=len, reverse=True))
_PAIR = re.compile(rf"({_ANY})(\d+)", re.IGNORECASE | re.ASCII)
_CHAIN = re.compile(rf"(?:(?:{_ANY})\d+)+", re.IGNORECASE | re.ASCII)
_CHAIN_AT_END = re.compile(rf"(?<![a-zA-Z])(?:(?:{_ANY})\d+){{2,}}$", re.IGNORECASE | re.ASCII)
_NAMED_WAVELENGTH = re.compile(r"w(\d{1,2})([A-Za-z].*)", re.IGNORECASE | re.ASCII)
_WAVELENGTH = re.compile(r"[1-9][3-9]\d\d", re.ASCII)
_WELL = re.compile(r"[A-P]\d{1,2}", re.IGNORECASE | re.ASCII)
_FIELD = re.compile(r"f(\d+)", re.IGNORECASE | re.ASCII)
# What is imaged one after the other, and counted by people: a place rather than a timepoint.
_THING = re.compile(
    r"(?:series|well|plate|slide|section|region|roi|sample|embryo|fish|mouse|cell)\d+",
    re.IGNORECASE | re.ASCII,
)
_TILES = (
    (re.compile(r"r(?:ow)?\d+", re.I | re.A), re.compile(r"c(?:ol(?:umn)?)?\d+", re.I | re.A)),
    (re.compile(r"x\d+", re.I | re.A), re.compile(r"y\d+", re.I | re.A)),
)
_TILE = re.compile(r"r(?:ow)?\d+c(?:ol(?:umn)?)?\d+|x\d+y\d+", re.IGNORECASE | re.ASCII)
# Channel names that differ in nothing but a number.
_DYE = re.compile(
    r"(?:cy|alexa(?:fluor)?|af|atto|dylight|cf|hoechst)\d{1,5}|\d{3}nm", re.IGNORECASE | re.ASCII
)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_SEPARATORS = re.compile(r"[_\-\s.,()\[\]=+&#@]+")
_NUMBER = re.compile(r"\d+", re.ASCII)


@dataclass(slots=True)
class _Name:
    """One name while it is taken apart: what is known, and the chunks that nothing has claimed."""

    whole: str
    chunks: list[str]
    indices: dict[str, int] = field(default_factory=dict)
    channel_name: str | None = None
    places: list[str] = field(default_factory=list)
    running: int | None = None


def parse_names(names: Sequence[str]) -> list[ParsedName]:
    """Return what the base names of one folder tell, in the order given.

    Raises
    ------
    ValueError
        More than one text, or more than one number without a label, varies between the names.
    """
    stems = [stem_of(name) for name in names]
    for form in _FORMS:
        found = [form.fullmatch(stem) for stem in stems]
        if all(found):
            return [_from_form(match) for match in found if match]
    parts = [_Name(stem, _chunks(stem)) for stem in stems]
    _claim_places(parts)
    for name in parts:
        _claim_labels(name)
    _claim_channel_names(parts)
    _claim_running_number(parts)
    return [_parsed(name) for name in parts]


def parse_folder_names(names: Sequence[str]) -> list[ParsedName]:
    """Return what the names of sibling folders tell: a label's axis, otherwise a position each.

    One folder without a label tells nothing.
    """
    parts = [_Name(name, _chunks(name)) for name in names]
    for name in parts:
        _claim_labels(name)
    axes = [set(name.indices) for name in parts]
    if axes and all(len(axis) == 1 and axis == axes[0] for axis in axes):
        told = [_parsed(name) for name in parts]
        if len(set(_told_key(item) for item in told)) == len(told):
            return [_named_after_folder(item, name) for item, name in zip(told, names, strict=True)]
    if len(names) == 1:
        return [ParsedName()]
    return [ParsedName(position_name=name) for name in names]


def _told_key(parsed: ParsedName) -> tuple[int | str | None, ...]:
    """Return all that a parsed name tells of the place of its frame, for comparison."""
    return (
        *(getattr(parsed, axis) for axis in _INDICES),
        parsed.channel_name,
        parsed.position_name,
        parsed.running,
    )


def _named_after_folder(parsed: ParsedName, name: str) -> ParsedName:
    if parsed.position is not None:
        return replace(parsed, position_name=name)
    return replace(parsed, channel_name=name) if parsed.channel is not None else parsed


def _from_form(found: re.Match[str]) -> ParsedName:
    groups = found.groupdict()
    places = [f"{part} {groups[part]}" for part in _PLACES if groups.get(part) is not None]
    details: JSONObject = {part: groups[part] for part in _PLACES if groups.get(part) is not None}
    indices = {axis: int(groups[axis]) for axis in _INDICES if groups.get(axis) is not None}
    told = ParsedName.at(indices, channel_name=groups.get("channel_name") or None)
    return replace(told, position_name=", ".join(places) or None, metadata=details)


def _chunks(stem: str) -> list[str]:
    return [chunk for chunk in _SEPARATORS.split(_GUID.sub("", stem)) if chunk]


def _columns(parts: Sequence[_Name]) -> list[list[str]]:
    """Return the chunks column by column, nothing where the names differ in their number."""
    if len({len(name.chunks) for name in parts}) != 1:
        return []
    return [list(column) for column in zip(*(name.chunks for name in parts), strict=True)]


def _drop(parts: Sequence[_Name], column: int) -> None:
    for name in parts:
        del name.chunks[column]


def _claim_places(parts: Sequence[_Name]) -> None:
    """Claim wells and their fields, tiles, and things that are counted, as names of positions."""
    if _claim(parts, _is_wells):
        _claim(parts, lambda column: all(_FIELD.fullmatch(chunk) for chunk in column))
    _claim(parts, lambda column: all(_TILE.fullmatch(chunk) for chunk in column))
    for row, column in _TILES:
        columns = _columns(parts)
        if any(_all(row, chunks) for chunks in columns) and any(_all(column, x) for x in columns):
            _claim(parts, partial(_all, row))
            _claim(parts, partial(_all, column))
    while _claim(parts, partial(_all, _THING)):
        pass


def _is_wells(column: Sequence[str]) -> bool:
    """True for ``A01`` to ``P24``. ``C01`` alone is a channel: letters must vary, or label nothing."""
    letters = {chunk[0].lower() for chunk in column}
    told = len(letters) > 1 or (
        all(len(chunk) == 3 for chunk in column) and not letters & set(_AXIS)
    )
    return told and _all(_WELL, column)


def _all(form: re.Pattern[str], column: Sequence[str]) -> bool:
    return all(form.fullmatch(chunk) for chunk in column)


def _claim(parts: Sequence[_Name], is_place: Callable[[Sequence[str]], bool]) -> bool:
    """Claim the first column that is a place; one that never varies tells nothing, and goes."""
    for place, column in enumerate(_columns(parts)):
        if is_place(column):
            for name in parts:
                chunk = name.chunks.pop(place)
                name.places += [chunk] if len(set(column)) > 1 else []
            return True
    return False


def _claim_labels(name: _Name) -> None:
    """Claim ``z003``, ``t01xy02c1``, ``w1DAPI``, ``time 12``; of a label that comes twice, the last.

    A letter apart from its number (``s_1_t_2``) counts only where there are two.
    """
    kept: list[str] = []
    words = ["", *(chunk.lower() for chunk in name.chunks)]
    spelled = [w in _AXIS and x.isdecimal() for w, x in zip(words, name.chunks, strict=False)]
    for place, chunk in enumerate(name.chunks):
        word = words[place]
        named = _NAMED_WAVELENGTH.fullmatch(chunk)
        at_end = _CHAIN_AT_END.search(chunk)
        if _CHAIN.fullmatch(chunk):
            _claim_chain(name, chunk)
        elif at_end:
            _claim_chain(name, at_end[0])
            kept.append(chunk[: at_end.start()])
        elif named:
            name.indices["channel"], name.channel_name = int(named[1]), named[2]
        elif spelled[place] and (len(word) > 2 or sum(spelled) > 1):
            name.indices[_AXIS[word]] = int(chunk)
        else:
            kept.append(chunk)
    name.chunks = kept


def _claim_chain(name: _Name, chain: str) -> None:
    for label, number in _PAIR.findall(chain):
        if label.lower() == "w" and _WAVELENGTH.fullmatch(number):  # MetaMorph: w1405 is w1, 405 nm
            name.indices["channel"], name.channel_name = int(number[0]), number[1:]
        else:
            name.indices[_AXIS[label.lower()]] = int(number)


def _claim_channel_names(parts: Sequence[_Name]) -> None:
    """Claim the one column whose text varies as the channel's name, if there is more to the names.

    Where a label has told the channel's index already, the text must go with it one to one.
    """
    varying = [
        place
        for place, column in enumerate(_columns(parts))
        if len({_text(chunk) for chunk in column}) > 1
    ]
    texts = {tuple(map(_text, name.chunks)) for name in parts}
    if len(texts) > 1 and len(varying) != 1:
        raise ValueError(f"the names are of {len(texts)} forms, such as {_two_forms(parts)}")
    for place in varying:
        if len(parts[0].chunks) == 1 and not all(name.indices or name.places for name in parts):
            raise ValueError(f"the names have nothing in common, such as {_two_forms(parts)}")
        pairs = {(name.indices.get("channel"), name.chunks[place]) for name in parts}
        indices = {index for index, _ in pairs}
        if None not in indices and not len(indices) == len(pairs) == len({x for _, x in pairs}):
            raise ValueError(f"the names are of several forms, such as {_two_forms(parts)}")
        for name in parts:
            name.channel_name = name.chunks[place]
        _drop(parts, place)


def _two_forms(parts: Sequence[_Name]) -> str:
    examples: dict[tuple[str, ...], str] = {}
    for name in parts:
        examples.setdefault(tuple(map(_text, name.chunks)), name.whole)
    return " and ".join(repr(whole) for whole in list(examples.values())[:2])


def _text(chunk: str) -> str:
    """Return a chunk without what its numbers say; the number of a dye is part of its name."""
    return chunk.lower() if _DYE.fullmatch(chunk) else _NUMBER.sub("#", chunk)


def _claim_running_number(parts: Sequence[_Name]) -> None:
    """Claim the number that varies without a label, where labels alone do not tell the names apart.

    Of several that vary, one must be enough, and if more than one is, they must agree in order.
    """
    numbers = [[int(number) for number in _NUMBER.findall(" ".join(x.chunks))] for x in parts]
    if len({len(row) for row in numbers}) > 1:
        raise ValueError(f"the names hold different counts of numbers: {_two_forms(parts)}")
    labels = [(tuple(sorted(x.indices.items())), x.channel_name, tuple(x.places)) for x in parts]
    if len(set(labels)) == len(parts):
        return
    columns = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    enough = [x for x in columns if len(set(zip(labels, x, strict=True))) == len(parts)]
    if len(enough) > 1 and len({tuple(_ranks(column)) for column in enough}) > 1:
        raise ValueError(f"the names count with {len(columns)} numbers, none of them labelled")
    if not enough and columns:
        raise ValueError(f"the names count with {len(columns)} numbers that have no label")
    if enough and any("timepoint" in name.indices for name in parts):
        raise ValueError("the names label their timepoint and count with another number too")
    for name, number in zip(parts, enough[-1] if enough else (), strict=bool(enough)):
        name.running = number


def _ranks(column: Sequence[int]) -> list[int]:
    rank = {number: place for place, number in enumerate(sorted(set(column)))}
    return [rank[number] for number in column]


def _parsed(name: _Name) -> ParsedName:
    indices = dict(name.indices)
    places = list(name.places)
    if places and "position" in indices:
        places.append(f"{indices.pop('position')}")
    return replace(
        ParsedName.at(indices, channel_name=name.channel_name),
        position_name=" ".join(places) or None,
        running=name.running,
        metadata={} if name.running is None else {"number": name.running},
    )
