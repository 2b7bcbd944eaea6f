"""Sources: the files of an upload, and whether they are still what they were."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from imaging_db.errors import CorruptSource, SourceChanged, UnsafePath, UnsupportedFormat
from imaging_db.model import SourceFile
from imaging_db.stores.base import check_key


def fingerprint(paths: Iterable[Path], root: Path, *, settings: Sequence[object]) -> str:
    """Return a hex SHA-256 over names, sizes and times of files, and over how they are read.

    Equal fingerprints mean that a source need not be read again; different ones say only that its
    content must be compared.

    Raises
    ------
    SourceChanged
        A file is gone.
    """
    entries: list[object] = [list(map(str, settings))]
    for path in sorted(paths):
        try:
            found = path.stat()
        except OSError as error:
            raise SourceChanged(path, f"went away while it was read ({error.strerror})") from error
        name = os.path.relpath(path, root.parent).replace(os.sep, "/")
        entries.append([name, found.st_size, found.st_mtime_ns])
    return hashlib.sha256(json.dumps(entries).encode("utf-8", "surrogatepass")).hexdigest()


def files_of(source: Path) -> tuple[SourceFile, ...]:
    """Return the files of a source that is stored as it is: one file, or a whole folder, sorted.

    Raises
    ------
    UnsupportedFormat
        Not a regular file or folder, an empty folder, or a link that leaves the folder.
    CorruptSource
        Two names that a store could not tell apart, or a name that no store takes.
    """
    if source.is_dir():
        files = tuple(sorted(_walk(source), key=lambda file: file.name))
        if not files:
            raise UnsupportedFormat(source, "is an empty folder")
    else:
        files = (_file(source, source.name),)
    _check_names(source, files)
    return files


def _walk(root: Path) -> Iterator[SourceFile]:
    inside = Path(os.path.realpath(root))  # which, unlike Path.resolve, survives a circle of links
    for folder, names, leaves in os.walk(root, onerror=_refuse_unreadable):
        for name in (*names, *leaves):
            path = Path(folder, name)
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise UnsupportedFormat(path, "is a link that leads out of the folder")
        linked = [name for name in names if Path(folder, name).is_symlink()]
        if linked:
            raise UnsupportedFormat(Path(folder, linked[0]), "is a link to a folder")
        for name in leaves:
            path = Path(folder, name)
            yield _file(path, path.relative_to(root).as_posix())


def empty_folders_note(source: Path) -> tuple[str, ...]:
    """Return a note where a folder has empty folders in it: only files are kept."""
    empty = [folder for folder, names, leaves in os.walk(source) if not names and not leaves]
    if not empty:
        return ()
    return (
        f"{len(empty)} empty folder(s) are not kept, such as {os.path.relpath(empty[0], source)}",
    )


def _refuse_unreadable(error: OSError) -> None:
    raise UnsupportedFormat(error.filename, error.strerror or "cannot be listed") from error


def _file(path: Path, name: str) -> SourceFile:
    try:
        found = path.stat()
    except OSError as error:
        raise CorruptSource(path, error.strerror or "cannot be read") from error
    if not stat.S_ISREG(found.st_mode):
        raise UnsupportedFormat(path, "is neither a file nor a folder")
    return SourceFile(path, name, found.st_size)


def _check_names(source: Path, files: Sequence[SourceFile]) -> None:
    """Some file systems fold case and accents: two names that fold to one would overwrite each other."""
    seen: dict[str, str] = {}
    for file in files:
        try:
            check_key(file.name)
        except UnsafePath as error:
            raise CorruptSource(file.path, f"cannot be stored: {error}") from error
        folded = unicodedata.normalize("NFC", file.name).casefold()
        if folded in seen:
            raise CorruptSource(
                source, f"{seen[folded]!r} and {file.name!r} differ only by case or accent"
            )
        seen[folded] = file.name
