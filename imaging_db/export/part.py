"""Where an export is built: a folder beside its final name, locked, kept after an interruption."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imaging_db import failpoints
from imaging_db.errors import Conflict, ImagingDBError, StoreUnavailable, UsageError
from imaging_db.stores.filesystem import sync_files, sync_filesystems
from imaging_db.transfer.folder import DownloadFolder

_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_PLAN = "export.json"


class Part:
    """``.<name>.part`` beside ``dest/<name>``: ``content`` in it gets that name once it is complete.

    ``plan`` is what makes two exports the same: the fingerprint of the frames, the format, its options.
    What an earlier run left of another plan is thrown away.
    """

    def __init__(self, dest: Path, name: str, plan: dict[str, object]) -> None:
        self.target = dest.absolute() / name
        self._folder = DownloadFolder(dest, f".{name}.part")
        self._plan = plan
        self._opened_folder: tuple[int, ...] = ()

    @property
    def path(self) -> Path:
        """Return the folder that is removed at the end; a journal may lie in it."""
        return self._folder.path

    @property
    def content(self) -> Path:
        """Return the file or folder that will get the final name."""
        return self.path / "content"

    @contextmanager
    def locked(self) -> Iterator[Part]:
        """Make the folder and hold its lock; after `finish` the folder is removed.

        Raises
        ------
        FolderBusy
            Another run writes to it.
        UsageError
            It cannot be made.
        """
        with self._folder.locked(), _opened(self.path) as self._opened_folder:
            self._begin()
            yield self
        if not self._plan_file.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what is left of a run that was killed after the content had got its name."""
        if self.path.is_dir() and not self.content.exists():
            with self._folder.locked():
                self._plan_file.unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)

    def _begin(self) -> None:
        if self._known() == self._plan:
            return
        with written_to(self.path):
            for entry in self.path.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif not entry.name.startswith(".imaging_db-"):
                    entry.unlink()
        self._folder.write(_PLAN, json.dumps(self._plan, sort_keys=True).encode())

    @property
    def _plan_file(self) -> Path:
        return self.path / _PLAN

    def _known(self) -> object:
        try:
            return json.loads(self._plan_file.read_bytes())
        except (OSError, ValueError):
            return None

    def _flush(self) -> None:
        if not sync_filesystems(self._opened_folder):
            within = self.content.is_dir()
            files = self.content.rglob("*") if within else (self.content,)
            sync_files((file for file in files if file.is_file()), root=self.path)

    def finish(self, *, overwrite: bool = False) -> None:
        """Give the content its final name, in one step where nothing has that name.

        Before that it is written to disk, so that a power cut leaves no name without its bytes.

        Raises
        ------
        Conflict
            Something else has that name and ``overwrite`` was not said.
        """
        replaced = self.path / "replaced"
        with written_to(self.target):
            self._flush()
            if os.path.lexists(self.target):
                if not overwrite:
                    raise in_the_way(self.target)
                self.target.rename(replaced)
            failpoints.reach("file.written")
            self.content.rename(self.target)
            failpoints.reach("file.named")
            _remove(replaced)
            self._plan_file.unlink()


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[int, ...]]:
    """Open a folder, where the system can: what is lost of writes since then is told when it is flushed."""
    if os.name == "nt":
        yield ()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield (handle,)
    finally:
        os.close(handle)


def in_the_way(path: Path) -> ImagingDBError:
    """Return the error of a name that something else has."""
    return Conflict(
        f"{path} exists already, and is another export",
        hint="name another folder with --dest, or replace it with --overwrite",
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def written_to(path: Path) -> Iterator[None]:
    """Tell a full disk (5) and a folder that refuses us (2) as such, instead of as an `OSError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreUnavailable(
                f"{path.parent} is full ({error.strerror})", hint="free space and rerun"
            ) from error
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="name another folder with --dest, and rerun",
        ) from error
