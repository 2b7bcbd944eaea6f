"""Kind ``zarr``: one array of a Zarr (versions 2 and 3), also a level of an OME-Zarr.

::

    {"kind": "zarr", "path": "brain.zarr", "dataset": "raw", "axes": "zyx", "grid": {...}}

``path`` is a folder, ``file://``, or an address that fsspec opens (``s3://``, ``gs://``, ``https://`` with its
packages; ``"anonymous": true`` for public buckets). ``dataset`` is the path of an array or image in it.
``level`` chooses a level of an OME-Zarr, 0 unless it is given; its axes are known. Elsewhere ``axes`` names
them, unless the array has names for them or three axes, which are zyx. ``channel_index`` chooses a channel.

A chunk that is absent is the fill value, by the format's own rule: writers leave out chunks that are
all fill value. ``"require_chunks": true`` refuses absent chunks (of a sharded array: absent shards); an array
that has no fill value is always read so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import ConfigError, CorruptSource, SourceChanged, UnsupportedFormat
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_array import ArrayPlace
from imaging_db.readers.grid.volumes_axes import Axes, axes_of, usual_axes
from imaging_db.readers.grid.volumes_errors import refusing
from imaging_db.readers.grid.volumes_extras import require
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_ome_zarr import level_of
from imaging_db.readers.grid.volumes_places import place_of
from imaging_db.readers.grid.volumes_source import Held, VolumeSource, dtype_name

if TYPE_CHECKING:
    import numpy.typing as npt

_KEYS = ("path", "dataset", "level", "axes", "channel_index", "require_chunks", "anonymous")
_ANONYMOUS: dict[str, dict[str, object]] = {"s3": {"anon": True}, "gs": {"token": "anon"}}
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "http": "aiohttp requests", "https": "aiohttp requests"}
_MARKS = {2: ".zarray", 3: "zarr.json"}
_SHOWN = 8


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of an array's boxes.

    Raises
    ------
    ConfigError
        Settings are wrong, or zarr or a package for the address is not installed.
    ReaderError
        There is no such array, its axes are not known, or the grid reaches beyond it.
    StoreUnavailable
        The address does not answer.
    """
    return VolumeSource(open_volume(settings), grid)


def open_volume(settings: JSONObject) -> ZarrVolume:
    """Return the array as a volume; see `open_source`."""
    keys = VolumeKeys(settings, *_KEYS)
    place = place_of(keys.needed("path"), key="path")
    dataset, axes = keys.text("dataset") or "", keys.text("axes")
    level, channel = keys.whole("level", least=0), keys.whole("channel_index", least=0)
    strict = keys.flag("require_chunks", default=False)
    anonymous = keys.flag("anonymous", default=False)
    keys.check()
    found = _found(place, dataset, level=level or 0, anonymous=anonymous)
    known = axes_of(axes) if axes else found.axes
    return ZarrVolume(place, found, known, channel=channel, strict=strict)


class _Found:
    """An array of a store: where it is for people, its axes as far as they are told, physical sizes."""

    def __init__(self, name: str, array: Any, axes: str | None, sizes: JSONObject) -> None:
        self.name, self.array, self.sizes = name, array, sizes
        self._axes = axes

    @property
    def axes(self) -> Axes:
        """Return the axes; an array of three that says nothing is ``zyx``."""
        told = self._axes or _named_axes(self.array)
        return axes_of(told) if told else usual_axes(self.name, self.array.shape)


class ZarrVolume:
    """One array of a Zarr."""

    def __init__(
        self, place: Path | str, found: _Found, axes: Axes, *, channel: int | None, strict: bool
    ) -> None:
        self._root, self._name, self._array = place, found.name, found.array
        self._place = ArrayPlace.of(found.name, axes, found.array.shape, channel=channel)
        self._strict = strict or found.array.metadata.fill_value is None
        dtype = dtype_name(found.name, found.array.dtype)
        held = self._place.held(dtype, tuple(found.array.chunks))
        self._held = Held(
            held.place, dtype, held.extent, held.chunk, held.chunk_start, sizes=found.sizes
        )

    @property
    def held(self) -> Held:
        """Return what the array says of itself."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on some slices; see `Volume.read`."""
        index = self._place.index(box, z)
        with refusing(self._name, what=str(box)):
            if self._strict:
                self._check_chunks(box, index)
            part = self._place.axes.to_zyx(self._array[index])
        self._check_there()
        return part

    def origin(self, box: Box) -> PageRef:
        """Return the array, and the slice counted through all timepoints."""
        return PageRef(Path(self._name), self._place.origin(box).page)

    def close(self) -> None:
        """Do nothing: a Zarr has no open files between two reads."""

    def _check_chunks(self, box: Box, index: tuple[slice, ...]) -> None:
        for key in stored_keys(self._array, index):
            if not self._is_there(key):
                cause = f"{box}: chunk {key} is absent"
                raise CorruptSource(
                    self._name, cause, hint="a writer was stopped, or leaves out empty ones"
                )

    def _check_there(self) -> None:
        """Refuse what came from a folder that went away: each chunk of it would be the fill value."""
        if isinstance(self._root, Path):
            mark = _MARKS[self._array.metadata.zarr_format]
            if not self._root.joinpath(self._array.path, mark).is_file():
                raise SourceChanged(self._name, "is gone")

    def _is_there(self, key: str) -> bool:
        if isinstance(self._root, Path):
            return self._root.joinpath(self._array.path, key).is_file()
        wait = require("zarr.core.sync").sync
        return bool(wait((self._array.store_path / key).exists()))


def stored_keys(array: Any, index: tuple[slice, ...]) -> Iterator[str]:
    """Yield the keys of the stored objects (chunks, or shards) that a part of an array lies in."""
    sizes = array.shards or array.chunks
    numbers = [
        range(part.start // size, -(-part.stop // size))
        for part, size in zip(index, sizes, strict=True)
    ]
    for place in product(*numbers):
        yield array.metadata.encode_chunk_key(place)


def _found(place: Path | str, dataset: str, *, level: int, anonymous: bool) -> _Found:
    zarr = require("zarr")
    name = f"{place}/{dataset}" if dataset else str(place)
    _check_folder(place)
    options = _ANONYMOUS.get(str(place).partition("://")[0]) if anonymous else None
    try:
        with refusing(name):
            node = _opened(zarr, place, dataset, options)
            if isinstance(node, zarr.Array):
                return _Found(name, node, None, {})
            told = level_of(name, node.attrs.asdict(), level=level)
            array = None if told is None else node.get(told.path)
            if told is not None and isinstance(array, zarr.Array):
                return _Found(f"{name}/{told.path}", array, told.axes, told.sizes)
            held = sorted(str(member) for member in node.keys())  # noqa: SIM118 - a group is no dict
    except CorruptSource as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UnsupportedFormat(name, "is no Zarr array or group") from error
        raise
    hint = f'name one in the settings as "dataset": {", ".join(held[:_SHOWN]) or "it is empty"}'
    raise UnsupportedFormat(name, "is a Zarr group, not an array or an image", hint=hint)


def _check_folder(place: Path | str) -> None:
    if isinstance(place, Path) and not place.exists():
        raise CorruptSource(place, "does not exist")
    if isinstance(place, Path) and not place.is_dir():
        raise UnsupportedFormat(place, "is a file, a Zarr is a folder", hint="unpack it")


def _opened(
    zarr: Any, place: Path | str, dataset: str, options: Mapping[str, object] | None
) -> Any:
    given = {} if options is None else {"storage_options": dict(options)}
    try:
        return zarr.open(store=place, path=dataset, mode="r", **given)
    except ImportError as error:  # fsspec imports what reads an address when it is asked for it
        scheme = str(place).partition("://")[0]
        hint = f"pip install {_PACKAGES.get(scheme, scheme)}"
        raise ConfigError(f"{place}: {error}", hint=hint) from error


def _named_axes(array: Any) -> str | None:
    """Return the axes that the array itself names, None unless each is one of ours."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not names or not all(name in ("t", "c", "z", "y", "x") for name in names):
        return None
    return "".join(names)
