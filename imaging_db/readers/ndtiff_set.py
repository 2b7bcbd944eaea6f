"""The files of one NDTiff dataset, and which page each image of the index is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from os.path import realpath
from pathlib import Path

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.filename_parsers import natural_key
from imaging_db.readers.json_text import parse_json
from imaging_db.readers.ndtiff_index import (
    INDEX_NAME,
    Axes,
    IndexEntry,
    StackHeader,
    checked_axes,
    header_size,
    is_stack,
    read_header,
    read_index,
)
from imaging_db.readers.tiff_directory import MICRO_MANAGER
from imaging_db.readers.tiff_reader import MOST_OPEN_FILES
from imaging_db.readers.tiff_source import TiffSource

FULL_RESOLUTION = "Full resolution"

_AXES = re.compile(r'"Axes"\s*:\s*(\{[^{}]*\})')
_OLD_MAGIC = (483729).to_bytes(4, "little")
_KEEP_INDEX = f"keep {INDEX_NAME} beside the files it came with"


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the set: the file and page where it lies, None for a file that was not asked for."""

    axes: Axes
    source: TiffSource | None
    page: int


@dataclass(slots=True)
class NDTiffSet:
    """An open set: its header, all images in the order in which they were saved, its files, notes."""

    folder: Path
    header: StackHeader
    images: list[Image]
    sources: list[TiffSource]
    index: Path | None
    notes: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Close every file."""
        for source in self.sources:
            source.close()


def is_ndtiff(path: Path) -> bool:
    """True where a folder holds an NDTiff dataset, or a file is one of its stacks."""
    if path.is_dir():
        return _folder_of(path) is not None
    head = _head(path)
    return is_stack(head) or _is_version_1(head)


def open_set(path: Path, limits: ReadLimits) -> NDTiffSet:
    """Return the set in a folder, or the one stack of it that ``path`` names.

    Raises
    ------
    CorruptSource
        A file that the index names is missing, empty or damaged; a page is not in the index; the index
        is damaged, or it is missing and the pages do not tell their axes.
    UnsupportedFormat
        No NDTiff dataset, or one of version 1.
    """
    try:
        return _open_set(path, limits)
    except OSError as error:
        raise CorruptSource(path, f"cannot be read: {error.strerror or error}") from error


def _open_set(path: Path, limits: ReadLimits) -> NDTiffSet:
    if path.is_dir():
        folder, only = _folder_of(path), None
    else:
        folder, only = path.parent, path.name
    if folder is None:
        raise UnsupportedFormat(path, "holds no NDTiff dataset")
    with ExitStack() as opened:
        index = folder / INDEX_NAME
        if index.is_file():
            found = _with_index(folder, index, only, limits, opened)
        else:
            found = _without_index(folder, only, limits, opened)
        found.notes += _resolution_notes(path, folder)
        opened.pop_all()
        return found


def _folder_of(path: Path) -> Path | None:
    for folder in (path, path / FULL_RESOLUTION):
        if (folder / INDEX_NAME).is_file() or (folder.is_dir() and any(_stacks(folder))):
            return folder
    return None


def _stacks(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that start as NDTiff stacks do, or are named so, in natural order."""
    for file in sorted(folder.iterdir(), key=lambda item: natural_key(item.name)):
        if file.suffix.lower() not in (".tif", ".tiff") or file.name.startswith("."):
            continue
        if "NDTiffStack" in file.name or is_stack(_head(file)):
            yield file


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as stream:
            return stream.read(32)
    except OSError:
        return b""


def _is_version_1(head: bytes) -> bool:
    return len(head) >= 28 and head[:4] == b"II*\0" and head[24:28] == _OLD_MAGIC


def _open_all(
    folder: Path, names: Sequence[str], limits: ReadLimits, opened: ExitStack
) -> list[TiffSource]:
    keep_open = len(names) <= MOST_OPEN_FILES
    return [
        opened.enter_context(TiffSource(_checked(folder, name), limits, keep_open=keep_open))
        for name in names
    ]


def _checked(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        raise CorruptSource(folder / INDEX_NAME, f"names {name}, which is missing")
    if not Path(realpath(path)).is_relative_to(realpath(folder)):
        raise UnsupportedFormat(path, "is a link that leads out of its folder")
    if _is_version_1(_head(path)):
        raise UnsupportedFormat(path, "is of NDTiff version 1, which is not read")
    return path


def _header(source: TiffSource) -> StackHeader:
    head = source.read_bytes(0, 32)
    size = min(header_size(head), source.limits.max_metadata_bytes)
    return read_header(source.read_bytes(0, size), source.path)


def _with_index(
    folder: Path, index: Path, only: str | None, limits: ReadLimits, opened: ExitStack
) -> NDTiffSet:
    entries = read_index(index, max_entries=limits.max_frames)
    names = list(dict.fromkeys(entry.file_name for entry in entries))
    if only is not None and only not in names:
        raise CorruptSource(folder / only, f"is not named by {INDEX_NAME}", hint=_KEEP_INDEX)
    if only is None:
        _refuse_strangers(folder, names)
    wanted = names if only is None else [only]
    sources = dict(zip(wanted, _open_all(folder, wanted, limits, opened), strict=True))
    pages = {name: _pages(source, entries, index) for name, source in sources.items()}
    images = [
        Image(
            entry.axes, sources.get(entry.file_name), pages.get(entry.file_name, {}).get(number, 0)
        )
        for number, entry in enumerate(entries)
    ]
    notes = [] if len(wanted) == len(names) else [f"{only} is one of {len(names)} files of its set"]
    return NDTiffSet(
        folder, _header(sources[wanted[0]]), images, list(sources.values()), index, notes
    )


def _refuse_strangers(folder: Path, names: Sequence[str]) -> None:
    for file in _stacks(folder):
        if file.name not in names:
            if file.stat().st_size == 0:
                raise CorruptSource(file, "is empty (0 bytes)", hint="move it out of the folder")
            raise CorruptSource(file, f"is not named by {INDEX_NAME}", hint=_KEEP_INDEX)


def _pages(source: TiffSource, entries: Sequence[IndexEntry], index: Path) -> dict[int, int]:
    """Return the page of each entry (by number) of one file; every page belongs to one entry."""
    free = {source.pixel_offset(page): page for page in range(len(source))}
    found: dict[int, int] = {}
    for number, entry in enumerate(entries):
        if entry.file_name != source.path.name:
            continue
        page = free.pop(entry.pixel_offset, None)
        if page is None:
            where = f"byte {entry.pixel_offset} of {entry.file_name}"
            raise CorruptSource(
                index, f"entry {number} lies at {where}, where no page has its pixels"
            )
        _check_page(source, page, entry)
        found[number] = page
    if free:
        page = min(free.values())
        raise CorruptSource(source.path, f"is not in {INDEX_NAME}", page=page, hint=_KEEP_INDEX)
    return found


def _check_page(source: TiffSource, page: int, entry: IndexEntry) -> None:
    layout = source.layout(page)
    samples = entry.pixel_type.samples
    shape = (entry.height, entry.width) if samples == 1 else (entry.height, entry.width, samples)
    if (layout.shape, layout.dtype) != (shape, entry.pixel_type.dtype):
        cause = (
            f"is {layout.shape} {layout.dtype}, {INDEX_NAME} says {shape} {entry.pixel_type.dtype}"
        )
        raise CorruptSource(source.path, cause, page=page)
    told = _axes_in_tag(source, page)
    if told is not None and _contradict(told, entry.axes):
        cause = f"its metadata says {told}, {INDEX_NAME} says {entry.axes}"
        raise CorruptSource(source.path, cause, page=page, hint=_KEEP_INDEX)


def _contradict(one: Axes, other: Axes) -> bool:
    """True where two sets of axes have other names, or values of one kind that differ."""
    if one.keys() != other.keys():
        return True
    if one == other:
        return False
    shared = [(one[axis], other[axis]) for axis in one.keys() & other.keys()]
    return any(type(mine) is type(theirs) and mine != theirs for mine, theirs in shared)


def _axes_in_tag(source: TiffSource, page: int) -> Axes | None:
    text = source.tag(page, MICRO_MANAGER)
    found = _AXES.search(text) if isinstance(text, str) else None
    if found is None:
        return None
    try:
        said = parse_json(found[1].encode("utf-8")).value
        return checked_axes(said, source.path, f"page {page}")
    except (ValueError, ReaderError):
        return None


def _without_index(
    folder: Path, only: str | None, limits: ReadLimits, opened: ExitStack
) -> NDTiffSet:
    names = [file.name for file in _stacks(folder)] if only is None else [only]
    sources = _open_all(folder, names, limits, opened)
    images: list[Image] = []
    for source in sources:
        for page in range(len(source)):
            axes = _axes_in_tag(source, page)
            if axes is None:
                cause = f"{INDEX_NAME} is missing, and the page does not tell its axes"
                raise CorruptSource(source.path, cause, page=page, hint=_KEEP_INDEX)
            images.append(Image(axes, source, page))
    note = f"{INDEX_NAME} is missing; the pages told their axes"
    return NDTiffSet(folder, _header(sources[0]), images, sources, None, [note])


def _resolution_notes(path: Path, folder: Path) -> list[str]:
    if folder.name != FULL_RESOLUTION or folder == path:
        return []
    smaller = sorted(item.name for item in path.iterdir() if item.name.startswith("Downsampled_"))
    return [f"smaller copies left out: {', '.join(smaller)}"] if smaller else []
