"""The files of a folder of TIFFs: what belongs to it, what is ignored, what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers.filename_parsers import natural_key
from imaging_db.readers.micro_manager_text import FILE_NAME, MetadataText, read_metadata_text

_SUFFIXES = (".tif", ".tiff")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class TifFolder:
    """One folder with its TIFF files in natural order, and its ``metadata.txt`` where it has one."""

    path: Path
    files: tuple[Path, ...]
    text: MetadataText | None
    text_path: Path | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The folders of a source: itself, or those below it where it holds no TIFF file itself."""

    root: Path
    folders: tuple[TifFolder, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Return all TIFF files, folder by folder."""
        return tuple(file for folder in self.folders for file in folder.files)


def list_folder(root: Path, *, max_metadata_bytes: int) -> Listing:
    """Return what belongs to a folder; hidden files and files of other kinds are ignored, with a note.

    Raises
    ------
    UnsupportedFormat
        No folder, no TIFF file in it, or a link that leads out of it.
    CorruptSource
        Files without content; the first is named, the others are counted.
    """
    try:
        if not root.is_dir():
            raise UnsupportedFormat(root, "is not a folder", hint="use 'tif_id' for one file")
        return _list(root, max_metadata_bytes)
    except OSError as error:
        raise CorruptSource(root, f"cannot be read: {error.strerror or error}") from error


def _list(root: Path, max_metadata_bytes: int) -> Listing:
    paths = list(_folders(root))
    if not paths:
        raise UnsupportedFormat(root, "holds no TIFF file, nor does a folder in it")
    notes = [] if paths == [root] else _left_out(root, paths)
    folders: list[TifFolder] = []
    for path in paths:
        files, ignored = _files(path, root)
        text_path = path / FILE_NAME
        text = None
        if text_path.is_file():
            text = read_metadata_text(text_path, max_bytes=max_metadata_bytes)
        folders.append(TifFolder(path, files, text, text_path if text else None))
        notes += _ignored_note(path, ignored)
        notes += [f"{path.name}: {text.problem}"] if text and text.problem else []
    _refuse_empty([file for folder in folders for file in folder.files])
    return Listing(root, tuple(folders), tuple(notes))


def tif_names(folder: Path) -> list[str]:
    """Return the names of a folder's TIFF files, empty where it cannot be read."""
    try:
        return [item.name for item in folder.iterdir() if _is_tif(item)]
    except OSError:
        return []


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in natural order."""
    found = [item for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")]
    return sorted(found, key=lambda item: natural_key(item.name))


def _folders(root: Path) -> Iterator[Path]:
    if tif_names(root):
        yield root
        return
    for item in subfolders(root):
        if tif_names(item):
            _refuse_link(item, root)
            _refuse_name(item)
            yield item


def _is_tif(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _files(folder: Path, root: Path) -> tuple[tuple[Path, ...], list[str]]:
    """Return a folder's TIFF files in natural order, and the names of what else lies there."""
    files: list[Path] = []
    ignored: list[str] = []
    for item in sorted(folder.iterdir(), key=lambda item: natural_key(item.name)):
        if _is_tif(item):
            _refuse_link(item, root)
            _refuse_name(item)
            files.append(item)
        elif item.name != FILE_NAME:
            ignored.append(item.name)
    return tuple(files), ignored


def _refuse_link(path: Path, root: Path) -> None:
    if path.is_symlink() and not Path(realpath(path)).is_relative_to(realpath(root)):
        raise UnsupportedFormat(path, "is a link that leads out of its folder")


def _refuse_name(path: Path) -> None:
    """Refuse bytes that are no text: channels and positions are named after files and folders."""
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnsupportedFormat(
            path.parent, f"holds a name that is no text: {path.name!r}"
        ) from error


def _refuse_empty(files: Sequence[Path]) -> None:
    empty = [file for file in files if file.is_file() and file.stat().st_size == 0]
    if empty:
        others = f", and {len(empty) - 1} others of {len(files)} files too" if empty[1:] else ""
        raise CorruptSource(empty[0], f"is empty (0 bytes){others}")


def _left_out(root: Path, taken: Sequence[Path]) -> list[str]:
    names = [item.name for item in root.iterdir() if item not in taken]
    return _ignored_note(root, sorted(names, key=natural_key))


def _ignored_note(folder: Path, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{folder.name}: ignored {', '.join(names[:_SHOWN])}{more}"]
