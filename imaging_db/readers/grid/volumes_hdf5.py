"""HDF5 files: opened when they are needed, a bounded number at a time, and read as they are.

A dataset with chunks that were never written gives its fill value there, by the format's own rule. What
would give that value for another reason is refused: a virtual dataset whose sources are gone, and one that
keeps its pixels in files beside it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers.grid.volumes_errors import refusing
from imaging_db.readers.grid.volumes_extras import require
from imaging_db.readers.grid.volumes_source import dtype_name

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_OPEN_FILES = 16
_CHUNK_CACHE = 16 * 2**20
"""Bytes of decoded chunks that HDF5 keeps for a dataset: its own 1 MiB holds less than one chunk of many files."""
_SHOWN = 8


class _Open:
    """One open file, its datasets that were asked for, and how many threads use it now."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.users = 0
        self._datasets: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return what has a name in the file, None where nothing has; it stays open, and its chunks kept."""
        if name not in self._datasets:
            self._datasets[name] = self.file.get(name)
        return self._datasets[name]


class Hdf5Files:
    """Open HDF5 files, those least lately used closed first. Safe for threads: h5py itself does one thing
    at a time, and a file that a thread reads is not closed.
    """

    def __init__(self, most_open: int = MOST_OPEN_FILES) -> None:
        self._most_open = most_open
        self._files: OrderedDict[Path, _Open] = OrderedDict()
        self._guard = threading.Lock()
        self._closed = False
        require("h5py")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Close the files where the block fails; else they stay open."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def dataset(self, path: Path, name: str) -> Iterator[Any]:
        """Yield an ``h5py.Dataset``; what h5py raises in the block becomes an error of ours.

        Raises
        ------
        CorruptSource
            The file is missing, cut off or damaged, or has no such dataset.
        UnsupportedFormat
            The dataset is a group, holds no numbers, or its pixels are in other files that are not there.
        """
        opened = self._lend(path)
        try:
            with refusing(path, what=name):
                yield _checked(path, name, opened)
        finally:
            self._give_back(opened)

    def dtype(self, path: Path, name: str) -> str:
        """Return the type of a dataset's pixels; the files are closed where it cannot be told."""
        with self.kept(), self.dataset(path, name) as dataset:
            return dtype_name(f"{path}: {name}", dataset.dtype)

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        with self._guard:
            self._closed = True
            for path in [path for path, opened in self._files.items() if not opened.users]:
                self._files.pop(path).file.close()

    def _lend(self, path: Path) -> _Open:
        with self._guard:
            if self._closed:
                raise ValueError(f"{path} was closed")
            opened = self._files.get(path)
            if opened is None:
                opened = self._files[path] = _Open(_opened(path))
            opened.users += 1
            self._files.move_to_end(path)
            self._close_idle()
            return opened

    def _give_back(self, opened: _Open) -> None:
        with self._guard:
            opened.users -= 1
            if self._closed and not opened.users:
                opened.file.close()

    def _close_idle(self) -> None:
        idle = [path for path, opened in self._files.items() if not opened.users]
        for path in idle[: max(0, len(self._files) - self._most_open)]:
            self._files.pop(path).file.close()


def _opened(path: Path) -> Any:
    if path.is_file() and path.stat().st_size == 0:
        raise CorruptSource(path, "is empty (0 bytes)")
    with refusing(path):
        return require("h5py").File(path, "r", rdcc_nbytes=_CHUNK_CACHE)


def datasets_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the datasets of a file by name, with their shapes.

    Raises
    ------
    CorruptSource
        The file is missing, cut off or damaged.
    """
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = tuple(item.shape or ())

    h5py = require("h5py")
    file = _opened(path)
    try:
        with refusing(path):
            file.visititems(note)
    finally:
        file.close()
    return found


def values(dataset: Any) -> npt.NDArray[Any]:
    """Return all of a small dataset, such as an offset, as whole numbers on one axis.

    Raises
    ------
    ValueError
        They are not whole numbers.
    """
    import numpy as np

    found = np.asarray(dataset[()]).reshape(-1)
    whole = found.astype(np.int64)
    if not np.array_equal(whole, found):
        raise ValueError(f"{found.tolist()} are not whole numbers")
    return whole


def _checked(path: Path, name: str, opened: _Open) -> Any:
    h5py = require("h5py")
    found = opened.get(name)
    if found is None:
        held = sorted(opened.file)[:_SHOWN]
        raise CorruptSource(path, f"holds no dataset '{name}'", hint=f"it holds {', '.join(held)}")
    if not isinstance(found, h5py.Dataset):
        raise UnsupportedFormat(path, f"'{name}' is a group, not a dataset")
    if found.dtype.kind not in "biufc":
        raise UnsupportedFormat(path, f"'{name}' holds {found.dtype}, not plain numbers")
    if found.external:
        raise UnsupportedFormat(path, f"'{name}' keeps its pixels in other files")
    if found.is_virtual:
        _check_sources(path, name, found)
    return found


def _check_sources(path: Path, name: str, dataset: Any) -> None:
    """Refuse a virtual dataset of files that are gone: HDF5 itself would give the fill value."""
    for source in dataset.virtual_sources():
        if source.file_name != "." and not (path.parent / source.file_name).is_file():
            cause = f"'{name}' is made of other files, {source.file_name} is not there"
            raise CorruptSource(path, cause)
