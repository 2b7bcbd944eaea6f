"""Where each file of a folder lies: by ``metadata.txt``, by a configured parser, or by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.model import FrameCoords, JSONObject
from imaging_db.readers.filename_parsers import FilenameParser, ParsedName, get_parser
from imaging_db.readers.filename_patterns import parse_folder_names, parse_names
from imaging_db.readers.micro_manager_text import FrameEntry, MetadataText
from imaging_db.readers.micro_manager_text import parse_names as names_in
from imaging_db.readers.placement import Placement
from imaging_db.readers.tif_folder_files import Listing

_AXES = ("channel", "slice", "timepoint", "position")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FilePlace:
    """One file: what is told of it, and where it lies; pages of it may fill axes that are free.

    ``entry`` is what ``metadata.txt`` says of it, None where it says nothing.
    """

    path: Path
    told: ParsedName
    placement: Placement
    entry: FrameEntry | None

    @property
    def free_axes(self) -> frozenset[str]:
        """Return the axes that neither the name nor ``metadata.txt`` tells, as c, z, t, p."""
        told = self.told
        taken = {
            "c": told.channel is not None or told.channel_name is not None,
            "z": told.slice is not None,
            "t": told.timepoint is not None or told.running is not None,
            "p": told.position is not None or told.position_name is not None,
        }
        return frozenset(axis for axis, is_taken in taken.items() if not is_taken)


@dataclass(frozen=True, slots=True)
class Places:
    """All files of a folder, and how their places are known.

    ``is_logged``: ``metadata.txt`` lists every file. ``is_configured``: a parser was named.
    """

    files: tuple[FilePlace, ...]
    is_logged: bool
    is_configured: bool
    global_metadata: JSONObject


def place_files(listing: Listing, parser_name: str | None) -> Places:
    """Return where each file lies.

    A configured parser outranks ``metadata.txt``, which outranks the names.

    Raises
    ------
    UnsupportedFormat
        Names that cannot be told apart or are of several forms, or not of the configured form.
    CorruptSource
        A file that ``metadata.txt`` lists is missing.
    """
    entries = [
        (folder.text.entries if folder.text else {}).get(file.name)
        for folder in listing.folders
        for file in folder.files
    ]
    _refuse_missing(listing)
    logged = bool(entries) and all(entry is not None and _tells(entry) for entry in entries)
    if parser_name is not None:
        told = _by_parser(listing, parser_name)
    elif logged:
        told = _by_log(listing)
    else:
        told = _by_names(listing)
    placements = _placements(listing, told)
    files = zip(listing.files, told, placements, entries, strict=True)
    return Places(
        tuple(FilePlace(*file) for file in files),
        is_logged=logged,
        is_configured=parser_name is not None,
        global_metadata=_common(told),
    )


def place(told: Sequence[ParsedName]) -> list[Placement]:
    """Return where frames lie whose names tell ``told``, given in natural order.

    Channels and positions that have a name only, and running numbers, count in the order in which they
    come; what is not told is 0.

    Raises
    ------
    ValueError
        An axis is told by some names only, or one channel has two names.
    """
    for axis in _AXES:
        if len({getattr(name, axis) is None for name in told}) > 1:
            raise ValueError(f"some names tell their {axis}, others do not")
    channels = _counted(told, lambda name: name.channel, lambda name: name.channel_name, "channel")
    positions = _counted(told, lambda name: name.position, lambda name: name.position_name, None)
    numbers = sorted({name.running for name in told if name.running is not None})
    rank = {number: place for place, number in enumerate(numbers)}
    return [
        Placement(
            FrameCoords(channel, name.slice or 0, _timepoint(name, rank), position),
            name.channel_name,
            name.position_name,
        )
        for name, channel, position in zip(told, channels, positions, strict=True)
    ]


def _timepoint(name: ParsedName, rank: dict[int, int]) -> int:
    if name.timepoint is not None:
        return name.timepoint
    return 0 if name.running is None else rank[name.running]


def _counted(
    told: Sequence[ParsedName],
    index_of: Callable[[ParsedName], int | None],
    name_of: Callable[[ParsedName], str | None],
    axis: str | None,
) -> list[int]:
    """Return an axis' indices; where only names are told, by first appearance."""
    order = {name: place for place, name in enumerate(dict.fromkeys(map(name_of, told)))}
    indices: list[int] = []
    names: dict[int, str | None] = {}
    for item in told:
        index, name = index_of(item), name_of(item)
        if index is None:
            index = order[name]
        elif names.setdefault(index, name) != name and axis:
            raise ValueError(f"{axis} {index} is called {names[index]!r} and {name!r}")
        indices.append(index)
    return indices


def _placements(listing: Listing, told: Sequence[ParsedName]) -> list[Placement]:
    try:
        return place(told)
    except ValueError as error:
        raise _unclear(listing, str(error)) from error


def _by_parser(listing: Listing, parser_name: str) -> list[ParsedName]:
    parser = get_parser(parser_name)
    parsed = [_parse(parser, parser_name, file) for file in listing.files]
    return _inside_folders(listing, parsed)


def _parse(parser: FilenameParser, parser_name: str, file: Path) -> ParsedName:
    """Return what a parser, which may be foreign code, makes of one name."""
    try:
        found: object = parser(file.name)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnsupportedFormat(file, f"{parser_name}: {error}") from error
    if not isinstance(found, ParsedName):
        raise UnsupportedFormat(file, f"{parser_name} returned {type(found).__name__}")
    return found


def _by_names(listing: Listing) -> list[ParsedName]:
    names = list(dict.fromkeys(file.name for file in listing.files))
    try:
        told = dict(zip(names, parse_names(names), strict=True))
    except ValueError as error:
        raise _unclear(listing, str(error)) from error
    return _inside_folders(listing, [told[file.name] for file in listing.files])


def _by_log(listing: Listing) -> list[ParsedName]:
    return _inside_folders(
        listing,
        [
            _of_entry(folder.text, folder.text.entries[file.name])
            for folder in listing.folders
            for file in folder.files
            if folder.text
        ],
    )


def _of_entry(text: MetadataText, entry: FrameEntry) -> ParsedName:
    names = names_in(text.summary.get("ChNames"))
    known = entry.channel is not None and entry.channel < len(names)
    return ParsedName(
        channel=entry.channel or 0,
        slice=entry.slice or 0,
        timepoint=entry.timepoint or 0,
        position=entry.position,
        channel_name=names[entry.channel]
        if known and entry.channel is not None
        else entry.channel_name,
        position_name=entry.position_name,
    )


def _tells(entry: FrameEntry) -> bool:
    return any(getattr(entry, axis) is not None for axis in _AXES)


def _inside_folders(listing: Listing, parsed: Sequence[ParsedName]) -> list[ParsedName]:
    """Return what names and the names of their folders tell together."""
    if listing.folders[0].path == listing.root:
        return list(parsed)
    above = parse_folder_names([folder.path.name for folder in listing.folders])
    folders = [
        item for item, folder in zip(above, listing.folders, strict=True) for _ in folder.files
    ]
    try:
        return _joined(parsed, folders)
    except ValueError as error:
        raise _unclear(listing, str(error)) from error


def _joined(parsed: Sequence[ParsedName], folders: Sequence[ParsedName]) -> list[ParsedName]:
    columns = zip(
        _outranking([x.channel for x in parsed], [x.channel for x in folders], "channel"),
        _outranking([x.slice for x in parsed], [x.slice for x in folders], "slice"),
        _outranking([x.timepoint for x in parsed], [x.timepoint for x in folders], "timepoint"),
        _positions(parsed, folders),
        strict=True,
    )
    return [
        replace(
            name,
            channel=channel,
            slice=z,
            timepoint=timepoint,
            position=position[0],
            position_name=position[1],
            channel_name=name.channel_name or folder.channel_name,
        )
        for name, folder, (channel, z, timepoint, position) in zip(
            parsed, folders, columns, strict=True
        )
    ]


def _outranking(
    mine: Sequence[int | None], theirs: Sequence[int | None], axis: str
) -> Sequence[int | None]:
    """Return the files' indices, or their folders' where the files' do not vary."""
    if None in theirs or list(mine) == list(theirs):
        return mine
    if len(set(mine)) == 1:
        return theirs
    raise ValueError(f"files and their folders tell the {axis} differently")


def _positions(
    parsed: Sequence[ParsedName], folders: Sequence[ParsedName]
) -> list[tuple[int | None, str | None]]:
    """Return position and its name: the folders', the files', or both where neither is enough."""
    inner = [(name.position, name.position_name) for name in parsed]
    outer = [(name.position, name.position_name) for name in folders]
    if set(inner) == {(None, None)} or (len(set(inner)) == 1 and len(set(outer)) > 1):
        return outer
    pairs = set(zip(inner, outer, strict=True))
    if len(set(outer)) == 1 or len(pairs) == len(set(inner)) == len(set(outer)):
        return [(mine[0], mine[1] or theirs[1]) for mine, theirs in zip(inner, outer, strict=True)]
    return [
        (None, f"{theirs[1]} {mine[0] if mine[1] is None else mine[1]}")
        for mine, theirs in zip(inner, outer, strict=True)
    ]


def _refuse_missing(listing: Listing) -> None:
    for folder in listing.folders:
        present = {file.name for file in folder.files}
        absent = [
            name for name in (folder.text.entries if folder.text else {}) if name not in present
        ]
        if absent and folder.text_path:
            cause = f"lists {len(absent)} files that are missing: {', '.join(absent[:_SHOWN])}"
            raise CorruptSource(folder.text_path, cause + (", ..." if absent[_SHOWN:] else ""))


def _common(told: Iterable[ParsedName]) -> JSONObject:
    """Return what all names say alike of the whole dataset."""
    items = [name.global_metadata for name in told]
    return {
        key: value
        for key, value in items[0].items()
        if all(other.get(key) == value for other in items)
    }


def _unclear(listing: Listing, cause: str) -> UnsupportedFormat:
    hint = "name a 'filename_parser' in the config, or split the folder"
    return UnsupportedFormat(
        listing.root, f"its file names do not tell the frames apart: {cause}", hint=hint
    )
