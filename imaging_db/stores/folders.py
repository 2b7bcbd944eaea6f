"""The folders of a local store: made once, inside the root, and never through a link that leaves it."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from errno import EILSEQ, EINVAL, ENAMETOOLONG, ENOTDIR
from pathlib import Path

from imaging_db.errors import StoreDenied, StoreUnavailable, UnsafePath
from imaging_db.stores.filesystem import extended_path, windows_problem

NO_SUCH_NAME = {ENAMETOOLONG, EILSEQ, EINVAL}


class Folders:
    """The folders below ``root``, looked at once each.

    The root is made only where its parent exists: the empty mount point of a share that is not mounted
    must not fill up. Once used, the root must stay the same folder (device and inode).
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(extended_path(str(root))) if os.name == "nt" else root
        self._shown = root
        self._guard = threading.Lock()
        self._real_root: str | None = None
        self._identity: tuple[int, int] | None = None
        self._made: dict[str, Path] = {}
        self._seen: dict[str, Path] = {}
        self._devices: dict[int, int] = {}

    def find(self, directory: str) -> Path:
        """Return the folder ``directory`` (parts with ``/``, empty for the root); it need not exist.

        Raises
        ------
        UnsafePath
            A link leads it out of the root, or Windows has no such names.
        StoreDenied, StoreUnavailable
            The root is not there, as `bind` tells.
        """
        known = self._made.get(directory) or self._seen.get(directory)
        if known is not None:
            return known
        path = self._path(directory)
        self._check_inside(path)
        if path.is_dir():
            self._seen[directory] = path
        return path

    def find_unlinked(self, directory: str) -> Path:
        """Return the folder ``directory`` as `find` does, for what lists or removes.

        Raises
        ------
        UnsafePath
            A part of it is a link, too: what lies there belongs to another folder as well.
        """
        path = self.find(directory)
        for part in (path, *path.parents):
            if part == self.root or not part.is_relative_to(self.root):
                break
            if part.is_symlink():
                raise UnsafePath(
                    f"{part} is a symbolic link: what lies there is neither listed nor removed",
                    hint="put the folder itself in its place",
                )
        return path

    def make(self, directory: str) -> Path:
        """Return the folder ``directory``, made where it was missing; raises as `find`.

        `FileNotFoundError`, too, where others remove folders at the same time: worth another call.
        """
        known = self._made.get(directory)
        if known is not None:
            return known
        path = self._path(directory)
        self.bind(create=True)
        for parent in reversed([path, *path.parents]):
            if parent != self.root and parent.is_relative_to(self.root):
                self._make_one(parent)
        self._remember(directory, path)
        return path

    def forget(self, directory: str) -> None:
        """Look at ``directory`` again next time: it may have been removed."""
        self._made.pop(directory, None)
        self._seen.pop(directory, None)

    def bind(self, *, create: bool) -> None:
        """Check that the root is there and still the same folder.

        Raises
        ------
        StoreDenied
            It is not there and may not be made, it is no folder, or no folder can have its name.
        StoreUnavailable
            It was there and is gone, or another one is in its place.
        """
        found = self._stat_root(create=create and self._identity is None)
        if not self.root.is_dir():
            raise StoreDenied(
                f"{self._shown} is not a folder", hint="name a folder as storage_access"
            )
        identity = (found.st_dev, found.st_ino)
        with self._guard:
            self._real_root = self._real_root or os.path.realpath(self.root)
            self._identity = self._identity or identity
        if identity != self._identity:
            raise self._missing()

    def devices(self) -> tuple[int, ...]:
        """Return an open folder of each file system that was written to (on POSIX)."""
        with self._guard:
            return tuple(self._devices.values())

    def close(self) -> None:
        """Let go of the folders; they may be used again."""
        with self._guard:
            devices, self._devices = self._devices, {}
            self._made.clear()
            self._seen.clear()
        for handle in devices.values():
            os.close(handle)

    def _stat_root(self, *, create: bool) -> os.stat_result:
        try:
            if create:
                self._make_root()
            return self.root.stat()
        except FileNotFoundError as error:
            raise self._missing() from error
        except ValueError as error:  # NUL, or a character that the file system cannot encode
            raise bad_root(self._shown, str(error)) from error
        except OSError as error:
            if error.errno not in NO_SUCH_NAME:
                raise
            raise bad_root(self._shown, error.strerror or str(error)) from error

    def _make_root(self) -> None:
        if not self.root.parent.is_dir():
            raise StoreDenied(
                f"{self._shown} does not exist, nor does the folder it would lie in",
                hint="mount the share or disk, or create the folder",
            )
        with contextlib.suppress(FileExistsError):
            self.root.mkdir()

    def _make_one(self, path: Path) -> None:
        """Make ``path``; `FileNotFoundError` where others have just removed its parent or itself."""
        try:
            path.mkdir()
        except FileExistsError:
            self._check_inside(path)
            if not stat.S_ISDIR(path.stat().st_mode):
                raise NotADirectoryError(ENOTDIR, "not a folder", str(path)) from None
        except FileNotFoundError:
            self.bind(create=False)
            raise

    def _path(self, directory: str) -> Path:
        if os.name == "nt" and directory:
            for part in directory.split("/"):
                check_windows_name(part)
        return self.root / directory

    def _check_inside(self, path: Path) -> None:
        if self._real_root is None:
            self.bind(create=False)
        real, root = _plain(os.path.realpath(path)), _plain(str(self._real_root))
        if real != root and not real.startswith(root.rstrip(os.sep) + os.sep):
            raise UnsafePath(f"{path} leads out of {self._shown}: {real}")

    def _remember(self, directory: str, path: Path) -> None:
        device = path.stat().st_dev
        with self._guard:
            self._made[directory] = path
            if os.name != "nt" and device not in self._devices:
                self._devices[device] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _missing(self) -> StoreDenied | StoreUnavailable:
        if self._identity is None:
            return StoreDenied(
                f"{self._shown} does not exist",
                hint="mount the share or disk, or create the folder",
            )
        return StoreUnavailable(
            f"{self._shown} is no longer the folder it was",
            hint="mount the share or disk again and rerun",
        )


def bad_root(root: Path, cause: str) -> StoreDenied:
    """Return the error for a folder whose name the system cannot have."""
    shown = repr(str(root))
    shown = shown if len(shown) <= 120 else f"{shown[:117]}..."
    return StoreDenied(
        f"{shown} cannot be a folder's name ({cause})", hint="correct storage_access"
    )


def check_windows_name(name: str) -> None:
    """Raise `UnsafePath` where Windows cannot keep ``name``."""
    problem = windows_problem(name)
    if problem:
        raise UnsafePath(f"{name!r} {problem}")


def _plain(path: str) -> str:
    return path.removeprefix("\\\\?\\")
