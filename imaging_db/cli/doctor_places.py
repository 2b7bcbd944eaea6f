"""What doctor looks at on this computer: modes of files, disks, and what is armed for tests."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from imaging_db.cli import output
from imaging_db.config import DatabaseSettings, Settings, data_home, find_config, find_login
from imaging_db.failpoints import VARIABLE
from imaging_db.stores.selftest import Check

MOUNTS = Path("/proc/self/mounts")
_LITTLE_SPACE = 10 * 2**30
_FEW_FILES = 100_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SECRET = re.compile(r"password|secret|token|://[^/\s\"]*@", re.IGNORECASE)
_NETWORK = re.compile(
    r"nfs|cifs|smb|sshfs|9p|afs|ceph|gluster|lustre|gpfs|beegfs|davfs|s3fs|rclone|goofys", re.I
)


def modes(args: argparse.Namespace, settings: Settings) -> Iterator[Check]:
    """Yield whether others can read what only the owner should."""
    login = find_login(args.login).path
    if login is None:
        yield Check("login", "ok", "none needed for the embedded catalog")
    else:
        yield _readable("login", login)
    config = find_config(args.config).path
    if config is not None:
        yield _readable("config", config)
    keys = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    if settings.store.storage == "s3" and keys.is_file():
        yield _readable("S3 credentials", keys)
    catalog = Path(settings.database.dbname)
    if settings.database.is_sqlite and catalog.is_file():
        yield _writable("catalog file", catalog)


def _readable(name: str, path: Path) -> Check:
    """Tell whether others can read a file that holds a secret; its text is never shown."""
    try:
        open_to_others = os.name == "posix" and bool(path.stat().st_mode & _OTHERS)
        if open_to_others and _SECRET.search(path.read_text(encoding="utf-8", errors="replace")):
            return Check(name, "warning", f"{path} can be read by others", f"chmod 600 {path}")
    except OSError as error:
        return Check(name, "warning", f"{path}: {error.strerror}", "check its owner and mode")
    return Check(name, "ok", str(path))


def _writable(name: str, path: Path) -> Check:
    if os.name == "posix" and path.stat().st_mode & stat.S_IWOTH:
        return Check(name, "warning", f"{path} can be written by everyone", f"chmod o-w {path}")
    return Check(name, "ok", str(path))


def will_be_made(database: DatabaseSettings) -> bool:
    """Return True where the first upload makes the catalog's file."""
    return (
        database.is_sqlite and database.dbname != ":memory:" and not Path(database.dbname).exists()
    )


def has_no_folder(folder: Path) -> bool:
    """Return True where the first upload makes a store's folder, and may."""
    if folder.exists():
        return False
    return folder.parent.is_dir() or folder.is_relative_to(data_home())


def disks(settings: Settings) -> Iterator[Check]:
    """Yield how much room there is, and which disks are a network's."""
    database, store = settings.database, settings.store
    if database.is_sqlite and database.dbname != ":memory:":
        yield from _network_catalog(Path(database.dbname))
    if store.storage != "local":
        yield Check("space", "ok", "not known for this store")
        return
    folder = existing(Path(store.access))
    if not folder.exists():  # a drive that is gone
        yield Check("space", "warning", f"{store.access} is not there")
        return
    kind = network_of(folder)
    if kind is not None:
        hint = "objects are safe there; mount it before every upload, and not soft"
        yield Check("store disk", "note", f"{folder} is on a network ({kind})", hint)
    yield _space(folder)


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    text = f"{output.size(free)} free below {folder}"
    if free <= _LITTLE_SPACE:
        return Check("space", "warning", text, "free space before an upload")
    if hasattr(os, "statvfs"):
        found = os.statvfs(folder)
        if found.f_files and found.f_favail < _FEW_FILES:
            text = f"{text}, but only {output.count(found.f_favail, 'more file')} can be made"
            return Check("space", "warning", text, "a frame is a file; use another disk")
    return Check("space", "ok", text)


def _network_catalog(file: Path) -> Iterator[Check]:
    kind = network_of(existing(file))
    if kind is not None:
        text = f"{file} is on a network ({kind}), where the locks of SQLite do not hold"
        yield Check(
            "catalog disk", "warning", text, "keep it on a disk of this computer, or use PostgreSQL"
        )


def existing(path: Path) -> Path:
    """Return ``path``, or the nearest folder above it that is there."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def network_of(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the kind of a file system that another computer serves, such as ``nfs4``; None for others.

    Source: proc_mounts(5). Where there is no such table (macOS, Windows) only a share's path tells.
    """
    real = os.path.realpath(path)
    if real.startswith("\\\\"):
        return "a share"
    best, kind = "", ""
    for line in mounts.read_text(errors="replace").splitlines() if mounts.exists() else ():
        folder, found = _mounted(line)
        inside = real == folder or real.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):  # of two at one place the later hides the earlier
            best, kind = folder, found
    return kind if _NETWORK.search(kind) else None


def _mounted(line: str) -> tuple[str, str]:
    """Return folder and kind of one line of the table, whose blanks are octal escapes."""
    fields = line.split(" ")
    if len(fields) < 3:
        return "\0", ""
    folder = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1])
    return folder, fields[2]


def failpoints() -> Iterator[Check]:
    """Yield a warning where an environment variable makes the work fail, which is for tests only."""
    if os.environ.get(VARIABLE):
        yield Check(
            "failpoints", "warning", f"{VARIABLE} is set: uploads will fail", f"unset {VARIABLE}"
        )
