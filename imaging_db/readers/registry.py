"""The readers by name: the built-in ones, and those of installed plugins.

A plugin is a distribution with an entry point of the group ``imaging_db.readers`` that names a
`ReaderSpec`. A plugin that cannot be loaded does not stop the others; `broken` shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from imaging_db.errors import (
    AmbiguousFormat,
    ConfigError,
    CorruptSource,
    ReaderError,
    UnknownPlugin,
    UnsupportedFormat,
)
from imaging_db.readers.base import Match, ReaderSpec
from imaging_db.readers.signature import foreign_format, is_tiff

GROUP = "imaging_db.readers"
# What foreign code raises while it is imported; not what ends a program (KeyboardInterrupt ...).
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_BUILT_IN = {
    "ome_tiff": "imaging_db.readers.ome_tiff",
    "tif_folder": "imaging_db.readers.tif_folder",
    "tif_id": "imaging_db.readers.tif_id",
    "ndtiff": "imaging_db.readers.ndtiff",
    "grid": "imaging_db.readers.grid.kinds",
}


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin that cannot be used: its name, where it comes from, and why."""

    name: str
    origin: str
    cause: str

    def __str__(self) -> str:
        return f"reader '{self.name}' of {self.origin} cannot be used: {self.cause}"


@dataclass(frozen=True, slots=True)
class _Registry:
    readers: dict[str, ReaderSpec]
    broken: tuple[BrokenPlugin, ...]


def specs() -> tuple[ReaderSpec, ...]:
    """Return every usable reader, built-in ones first."""
    return tuple(_load().readers.values())


def broken() -> tuple[BrokenPlugin, ...]:
    """Return the plugins that cannot be used."""
    return _load().broken


def get(name: str) -> ReaderSpec:
    """Return the reader of that name or alias, without regard to case.

    Raises
    ------
    UnknownPlugin
        No reader has the name; ``available`` holds those that exist.
    ConfigError
        A plugin of that name is installed and cannot be used.
    """
    wanted = name.strip().lower()
    for plugin in broken():
        if plugin.name == wanted:
            raise ConfigError(str(plugin), hint="update or uninstall it")
    for spec in specs():
        if wanted in (spec.name, *spec.aliases):
            return spec
    raise UnknownPlugin("reader", name, [spec.name for spec in specs()])


def find(path: Path) -> ReaderSpec:
    """Return the reader whose format ``path`` is; each one looks inside.

    Raises
    ------
    AmbiguousFormat
        Two readers are equally sure.
    UnsupportedFormat
        No reader takes it; names the format if its first bytes tell.
    CorruptSource
        It does not exist, is empty, or is a damaged TIFF file.
    """
    try:
        path.stat()
    except FileNotFoundError as error:
        raise CorruptSource(path, "does not exist") from error
    except (OSError, ValueError) as error:  # a name that is too long, a link to itself
        cause = getattr(error, "strerror", None) or str(error)
        raise CorruptSource(path, f"cannot be opened: {cause}") from error
    matches = [(spec.sniff(path), spec.name) for spec in specs()]
    best = max((match for match, _ in matches), default=Match.NO)
    if best is Match.NO:
        raise _not_taken(path)
    names = [name for match, name in matches if match == best]
    if len(names) > 1:
        raise AmbiguousFormat(path, names)
    return get(names[0])


def _not_taken(path: Path) -> ReaderError:
    from imaging_db.readers.tiff_bytes import FileBytes

    foreign = foreign_format(path)
    if foreign is not None:
        return UnsupportedFormat(path, f"unsupported format {foreign}", hint=_what_is_read())
    if path.is_file():
        try:
            FileBytes(path).close()
        except ReaderError as error:  # empty, or not ours to read
            return error
    if is_tiff(path):
        return _refused_tiff(path)
    kind = "folder" if path.is_dir() else "file"
    return UnsupportedFormat(path, f"no reader takes this {kind}", hint=_what_is_read())


def _refused_tiff(path: Path) -> ReaderError:
    from imaging_db.readers.lost_description import lost_in
    from imaging_db.readers.tiff_source import TiffSource

    try:
        TiffSource(path).close()
        lost = lost_in(path)
    except ReaderError as error:
        return error
    if lost is not None:
        hint = "name 'tif_id' as 'frames_format' to take its pages as they are"
        return CorruptSource(path, lost, hint=hint)
    cause = "a TIFF file that does not say which channel, slice, timepoint and position a page is"
    return UnsupportedFormat(path, cause, hint="put it in a folder of its own and use 'tif_folder'")


def _what_is_read() -> str:
    return f"readers: {', '.join(spec.name for spec in specs() if not spec.needs_settings)}"


@cache
def _load() -> _Registry:
    readers: dict[str, ReaderSpec] = {}
    origins: dict[str, str] = {}
    failures: list[BrokenPlugin] = []
    points = [EntryPoint(n, f"{module}:SPEC", GROUP) for n, module in _BUILT_IN.items()]
    points += sorted(entry_points(group=GROUP), key=lambda point: point.name)
    for point in points:
        origin = point.dist.name if point.dist else "imaging_db"
        loaded = _loaded(point, origin)
        if isinstance(loaded, BrokenPlugin):
            failures.append(loaded)
            continue
        taken = {n for n in (loaded.name, *loaded.aliases) if n in origins}
        if taken:
            other = origins[min(taken)]
            cause = f"{other} has a reader '{min(taken)}' too"
            failures.append(BrokenPlugin(loaded.name, origin, cause))
            continue
        readers[loaded.name] = loaded
        origins |= dict.fromkeys((loaded.name, *loaded.aliases), origin)
    return _Registry(readers, tuple(failures))


def _loaded(point: EntryPoint, origin: str) -> ReaderSpec | BrokenPlugin:
    """Return what an entry point names; any failure of foreign code is kept, not raised."""
    module, _, attribute = point.value.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except _FAILURES as error:
        return BrokenPlugin(point.name, origin, f"{type(error).__name__}: {error}")
    if not isinstance(found, ReaderSpec):
        return BrokenPlugin(point.name, origin, f"{point.value} is not a ReaderSpec")
    return found
