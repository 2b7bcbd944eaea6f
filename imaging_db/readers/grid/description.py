"""What the settings of every source may say beside its grid: names, sizes, and the type of its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imaging_db.config.keys import Keys
from imaging_db.errors import ConfigError, CorruptSource
from imaging_db.model import JSONObject, clean_object
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.source import PixelSource

_TOLD = ("channel", "metadata", "notes", "pixel_size_um", "z_step_um", "time_interval_s")
_COMMON = ("kind", "grid", "dtype", "colors")
_NOT_SOURCE = (*_TOLD, "grid", "dtype", "colors")


@dataclass(frozen=True, slots=True)
class Description:
    """What settings say of a source besides where its pixels are; ``settings`` are all of them.

    ``source`` is what is kept in the dataset's metadata of where it came from. ``dtype`` and ``colors`` are
    None where the source itself has to tell them.
    """

    kind: str
    settings: JSONObject
    source: JSONObject = field(default_factory=dict)
    channel: str | None = None
    dtype: str | None = None
    colors: int | None = None
    metadata: JSONObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pixel_size_x_um: float | None = None
    pixel_size_y_um: float | None = None
    z_step_um: float | None = None
    time_interval_s: float | None = None

    def check(self, source: PixelSource, grid: TileGrid) -> None:
        """Let pass a source whose pixels are of the type and colours that the settings say, if they say.

        Raises
        ------
        CorruptSource
            They are not.
        """
        told = (self.dtype or source.dtype, self.colors or source.colors)
        found = (source.dtype, source.colors)
        if found != told:
            cause = f"holds {_kind(*found)}, the settings say {_kind(*told)}"
            raise CorruptSource(source.origin(grid.box(0)).path, cause)


def described(settings: JSONObject) -> Description:
    """Return what the settings say; unknown keys are left to the kind.

    Raises
    ------
    ConfigError
        A value is wrong; all of them at once.
    """
    kind = str(settings.get("kind"))
    keys = keys_of(settings, *settings)
    pixel_x, pixel_y = _pair(keys, "pixel_size_um")
    made = Description(
        kind=kind,
        settings=dict(settings),
        source={key: value for key, value in settings.items() if key not in _NOT_SOURCE},
        channel=keys.text("channel"),
        dtype=_dtype(keys),
        colors=keys.whole("colors"),
        metadata=_object(keys, "metadata"),
        notes=_texts(keys, "notes"),
        pixel_size_x_um=pixel_x,
        pixel_size_y_um=pixel_y,
        z_step_um=_size(keys, "z_step_um", keys.raw("z_step_um")),
        time_interval_s=_size(keys, "time_interval_s", keys.raw("time_interval_s")),
    )
    if keys.problems:
        raise ConfigError(keys.problems)
    return made


def without_description(settings: JSONObject) -> JSONObject:
    """Return what a kind of source has to understand: where its pixels are, and of what type."""
    grey = ("colors",) if settings.get("colors") == 1 else ()
    return {key: value for key, value in settings.items() if key not in (*_TOLD, *grey)}


def keys_of(settings: JSONObject, *known: str) -> Keys:
    """Return the keys of a source's settings for reading; those that are not ``known`` are problems."""
    return Keys(settings, Path(f"{settings.get('kind')} source"), (*_COMMON, *known))


def _dtype(keys: Keys) -> str | None:
    import numpy as np

    name = keys.text("dtype")
    if name is None:
        return None
    try:
        found = np.dtype(name)
    except TypeError:
        keys.problem("dtype", f"{name!r} is no type of pixels")
        return None
    if found.kind not in "biufc":
        keys.problem("dtype", f"{name!r} is no type of pixels")
    return found.newbyteorder("=").name


def _pair(keys: Keys, key: str) -> tuple[float | None, float | None]:
    value = keys.raw(key)
    if value is None:
        return None, None
    if not isinstance(value, list) or len(value) != 2:
        keys.problem(key, f"must be two numbers [x, y], found {value!r}")
        return None, None
    return _size(keys, key, value[0]), _size(keys, key, value[1])


def _size(keys: Keys, key: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        keys.problem(key, f"must be a number, found {value!r}")
        return None
    if not math.isfinite(value) or value <= 0:
        keys.problem(key, f"must be above 0, found {value!r}")
        return None
    return float(value)


def _object(keys: Keys, key: str) -> JSONObject:
    value = keys.raw(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        keys.problem(key, f"must be an object, found {value!r}")
        return {}
    return clean_object(value)


def _texts(keys: Keys, key: str) -> tuple[str, ...]:
    value = keys.raw(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        keys.problem(key, f"must be a list of texts, found {value!r}")
        return ()
    return tuple(value)


def _kind(dtype: str, colors: int) -> str:
    return dtype if colors == 1 else f"{dtype} in {colors} colours"
