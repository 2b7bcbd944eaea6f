"""Kind ``precomputed``: a volume in Neuroglancer's precomputed format, as CloudVolume and others write it.

::

    {"kind": "precomputed", "path": "gs://bucket/em/image", "mip": 0, "grid": {...}}

``path`` is a folder, ``file://``, ``gs://``, ``s3://``, ``http://`` or ``https://``, with or without
``precomputed://`` before it. ``mip`` is the number of a scale, or its resolution ``[x, y, z]`` in nanometres.
Indices are those of the volume: it begins at its ``voxel_offset``. ``channel_index`` chooses one of several
channels. A chunk that is absent is refused; with ``"fill_missing": true``, CloudVolume's word, it is 0.

tensorstore reads it: raw, compressed_segmentation, jpeg and png chunks, sharded or not. Chunks of a folder
that CloudVolume compressed (``.gz``, ``.br``) are read too.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.errors import UnsupportedFormat
from imaging_db.model import JSONObject, PageRef
from imaging_db.readers.grid.boxes import Box
from imaging_db.readers.grid.grid import Range, TileGrid
from imaging_db.readers.grid.volumes_axes import Axes, channel_of
from imaging_db.readers.grid.volumes_errors import refusing
from imaging_db.readers.grid.volumes_extras import require
from imaging_db.readers.grid.volumes_keys import VolumeKeys
from imaging_db.readers.grid.volumes_places import place_of
from imaging_db.readers.grid.volumes_precomputed_info import Info, Scale, info_of
from imaging_db.readers.grid.volumes_precomputed_packed import PackedChunks
from imaging_db.readers.grid.volumes_source import Held, VolumeSource

if TYPE_CHECKING:
    import numpy.typing as npt

_KEYS = ("path", "mip", "channel_index", "fill_missing")
_SCHEMES = ("gs", "s3", "http", "https")
_AXES = Axes("xyzc")
_RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "4s"}
_CONTEXT = {f"{store}_request_retries": _RETRIES for store in ("gcs", "http", "s3")}
_ENCODINGS = ("raw", "compressed_segmentation", "jpeg", "png")
_LOSSY = "the source is JPEG, which is lossy: kept as it decodes"


def open_source(settings: JSONObject, grid: TileGrid) -> VolumeSource:
    """Return the source of a scale's boxes.

    Raises
    ------
    ConfigError
        Settings are wrong, or tensorstore is not installed.
    ReaderError
        There is no such volume or scale, or the grid reaches beyond it.
    StoreUnavailable
        The address does not answer.
    """
    return VolumeSource(open_volume(settings), grid)


def open_volume(settings: JSONObject) -> PrecomputedVolume:
    """Return a scale as a volume; see `open_source`."""
    keys = VolumeKeys(settings, *_KEYS)
    text = keys.needed("path").removeprefix("precomputed://")
    mip, channel = _mip(keys), keys.whole("channel_index", least=0)
    fill = keys.flag("fill_missing", default=False)
    keys.check()
    place = place_of(text, key="path", schemes=_SCHEMES)
    info = _info(place)
    return PrecomputedVolume(place, info, info.scale(mip), channel=channel, fill_missing=fill)


class PrecomputedVolume:
    """One scale of a precomputed volume."""

    def __init__(
        self,
        place: Path | str,
        info: Info,
        scale: Scale,
        *,
        channel: int | None,
        fill_missing: bool,
    ) -> None:
        self._name = f"{place}/{scale.key}"
        if scale.encoding not in _ENCODINGS:
            cause = f"its chunks are encoded as {scale.encoding}, which is none of {', '.join(_ENCODINGS)}"
            raise UnsupportedFormat(self._name, cause)
        shape = (1, 1, 1, info.channels)
        self._channel = channel_of(self._name, _AXES, shape, index=channel)
        self._spec: dict[str, Any] = {
            "driver": "neuroglancer_precomputed",
            "scale_index": scale.number,
            "fill_missing_data_reads": fill_missing,
        }
        self._packed = PackedChunks.of(place, info, scale, optional=fill_missing)
        self._store = None if self._packed is not None else self._opened(kvstore_of(place))
        x, y, z = scale.chunk
        self._held = Held(
            self._name,
            info.dtype,
            {"t": (0, 1), **scale.extent},
            (z, y, x),
            chunk_start=scale.extent["z"][0],
            sizes=scale.sizes,
            notes=(_LOSSY,) if scale.encoding == "jpeg" else (),
        )

    @property
    def held(self) -> Held:
        """Return what the volume's info says of the scale."""
        return self._held

    def read(self, box: Box, z: Range) -> npt.NDArray[Any]:
        """Return the pixels of a box on some slices; see `Volume.read`."""
        wanted: dict[str, Range] = {"x": (box.x0, box.x1), "y": (box.y0, box.y1), "z": z}
        index = _AXES.cut({**wanted, "c": (self._channel, self._channel + 1)})
        with refusing(self._name, what=str(box)):
            store = self._store
            if self._packed is not None:
                store = self._opened(self._packed.unpacked(wanted))
            # Fortran order: x runs fastest, so that nothing has to be copied to make it last
            return _AXES.to_zyx(store[index].read(order="F").result())  # type: ignore[index]

    def origin(self, box: Box) -> PageRef:
        """Return the scale, and the slice counted from its first."""
        return PageRef(Path(self._name), box.z - self._held.extent["z"][0])

    def close(self) -> None:
        """Forget the open volume; closing twice is allowed."""
        self._store = None

    def _opened(self, kvstore: Any) -> Any:
        tensorstore = require("tensorstore")
        with refusing(self._name):
            if isinstance(kvstore, dict):
                context = tensorstore.Context(_CONTEXT)
                spec = {**self._spec, "kvstore": kvstore}
                return tensorstore.open(spec, open=True, read=True, context=context).result()
            return tensorstore.open(self._spec, open=True, read=True, kvstore=kvstore).result()


def _mip(keys: VolumeKeys) -> int | tuple[float, ...]:
    value = keys.raw("mip")
    if isinstance(value, list):
        if len(value) == 3 and all(type(n) in (int, float) and n > 0 for n in value):
            return tuple(map(float, value))
        keys.problem("mip", f"must be a whole number or a resolution [x, y, z], found {value!r}")
    return 0 if isinstance(value, list) else keys.whole("mip", least=0) or 0


def kvstore_of(place: Path | str) -> dict[str, str]:
    """Return where tensorstore finds the volume."""
    if isinstance(place, Path):
        return {"driver": "file", "path": f"{place.absolute().as_posix()}/"}
    scheme, _, rest = place.partition("://")
    if scheme in ("http", "https"):
        return {"driver": "http", "base_url": f"{place}/"}
    bucket, _, path = rest.partition("/")
    driver = {"gs": "gcs", "s3": "s3"}[scheme]
    return {"driver": driver, "bucket": bucket, "path": f"{path}/" if path else ""}


def _info(place: Path | str) -> Info:
    """Return what the file ``info`` says, wherever it is."""
    tensorstore = require("tensorstore")
    with refusing(place, what="info"):
        context = tensorstore.Context(_CONTEXT)
        kvstore = tensorstore.KvStore.open(kvstore_of(place), context=context).result()
        found = kvstore.read("info").result()
        if found.state != "value":
            cause = "holds no file 'info': it is no precomputed volume"
            raise UnsupportedFormat(str(place), cause)
        return info_of(str(place), bytes(found.value))
