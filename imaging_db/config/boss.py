"""Configuration files of the Boss ingest client, versions 0.1 and 0.2, as they are.

The form is that of the client's two JSON Schemas (`boss-v0.1-schema`, `boss-v0.2-schema`). What they let
pass and what then went wrong in silence is refused here: extents that are empty or end before they begin,
sizes below 1, chunks that are no multiples of the server's cuboids of 512 x 512 x 16 voxels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging_db.config.boss_section import Section
from imaging_db.config.json_file import read_json_object
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject, JSONValue, clean_object

SCHEMAS = {"boss-v0.1-schema": "BossValidatorV01", "boss-v0.2-schema": "BossValidatorV02"}
AXES = ("x", "y", "z", "t")
CUBOID = (("x", 512), ("y", 512), ("z", 16))
"""Voxels of the server's cuboids; version 0.2 asks that chunks are made of whole ones."""

_TILE, _VOLUMETRIC = "tile", "volumetric"
_SECRET = re.compile(
    r"token|secret|passw|passphrase|pwd|credential|bearer|authori[sz]ation|aws_.*key"
    r"|(api|secret|access|private|account)[-_]?key",
    re.I,
)
_NO_SECRETS = "holds a secret, which the catalog would keep; remove it (a Boss's token goes into INTERN_TOKEN)"
_LOGIN_IN_ADDRESS = re.compile(r"://[^/]*@")


@dataclass(frozen=True, slots=True)
class BossPlugin:
    """A processor that a configuration names: where, its class as written, and its parameters."""

    place: str
    name: str
    params: JSONObject


@dataclass(frozen=True, slots=True)
class BossConfig:
    """One configuration file that is right as far as it can be judged without its source.

    ``extent`` holds [start, stop) for x, y, z and t, in pixels and indices of the source; ``size`` the
    tile's or chunk's x, y and z, with z 1 for tiles. ``pixels`` is the tile or the chunk processor.
    ``document`` is the whole file, ``unused`` what of it means nothing here, by JSON path, and ``notes``
    are what the user should know.
    """

    path: Path
    schema: str
    protocol: str
    host: str
    collection: str
    experiment: str
    channel: str
    resolution: int
    is_volumetric: bool
    extent: Mapping[str, tuple[int, int]]
    size: tuple[int, int, int]
    path_processor: BossPlugin
    pixels: BossPlugin
    document: JSONObject = field(repr=False)
    unused: JSONObject = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def size_place(self) -> str:
        """Return the JSON path of the tile's or chunk's size."""
        return "ingest_job.chunk_size" if self.is_volumetric else "ingest_job.tile_size"


def is_boss(document: object) -> bool:
    """Return True where a JSON document is a configuration of the Boss ingest client, right or wrong."""
    if not isinstance(document, dict):
        return False
    schema = document.get("schema")
    name = schema.get("name") if isinstance(schema, dict) else None
    return {"client", "ingest_job"} <= document.keys() or str(name).startswith("boss")


def read_boss(path: Path | str) -> BossConfig:
    """Return the configuration in a file.

    Raises
    ------
    ConfigError
        It cannot be read, or all that is wrong in it, a line each: ``job.json: ingest_job.extent.x: ...``.
    """
    path = Path(path)
    found = read_json_object(path)
    try:
        document = clean_object(found)
    except ValueError as error:  # nested too deeply
        raise ConfigError(f"{path}: {error}") from error
    problems: list[str] = list(_secrets(document, ""))
    config = _config(path, document, problems)
    if problems:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return config


def _config(path: Path, document: JSONObject, problems: list[str]) -> BossConfig:
    """Return the configuration; where there are problems it is made of stand-ins and must not be used."""
    whole = Section(document, "", problems)
    schema, client = whole.section("schema"), whole.section("client")
    database, job = whole.section("database"), whole.section("ingest_job")
    version = schema.choice("name", list(SCHEMAS))
    schema.choice("validator", [SCHEMAS[version]] if version in SCHEMAS else list(SCHEMAS.values()))
    backend = client.section("backend")
    _backend(backend)
    is_volumetric = _is_volumetric(job, version)
    size, notes = _chunk_size(job) if is_volumetric else _tile_size(job)
    extent = job.section("extent")
    config = BossConfig(
        path,
        version,
        str(backend.raw("protocol")),
        str(backend.raw("host")),
        database.text("collection"),
        database.text("experiment"),
        database.text("channel"),
        job.whole("resolution", least=0),
        is_volumetric,
        {axis: extent.span(axis) for axis in AXES},
        size,
        _plugin(client, "path_processor"),
        _plugin(client, "chunk_processor" if is_volumetric else "tile_processor"),
        document,
        notes=tuple(notes),
    )
    read = (whole, schema, client, backend, database, job, extent)
    unused = {place: value for section in read for place, value in section.unread().items()}
    return replace(config, unused=unused)


def _backend(backend: Section) -> None:
    backend.text("name")
    backend.choice("class", ["BossBackend"])
    host = backend.text("host")
    backend.choice("protocol", ["https", "http"])
    if any(mark in host for mark in "/@"):
        backend.problem("host", "must be the name of a computer alone, such as api.bossdb.io")


def _is_volumetric(job: Section, version: str) -> bool:
    """Return True for chunks; version 0.1 knows tiles only, and need not say so."""
    kind = job.choice("ingest_type", [_TILE, _VOLUMETRIC], default=_TILE)
    if kind == _VOLUMETRIC and version == "boss-v0.1-schema":
        job.problem("ingest_type", "boss-v0.1-schema knows only tile; name boss-v0.2-schema")
        return False
    if version == "boss-v0.2-schema" and not job.has("ingest_type"):
        job.problem("ingest_type", "is required by boss-v0.2-schema: tile or volumetric")
    return kind == _VOLUMETRIC


def _tile_size(job: Section) -> tuple[tuple[int, int, int], list[str]]:
    size = job.section("tile_size")
    found = {axis: size.whole(axis, least=1) for axis in AXES}
    notes = [
        f"{size.place_of(axis)} is {found[axis]} and is taken as 1, as the server of the Boss did"
        for axis in ("z", "t")
        if found[axis] > 1
    ]
    return (found["x"], found["y"], 1), notes


def _chunk_size(job: Section) -> tuple[tuple[int, int, int], list[str]]:
    size = job.section("chunk_size")
    for axis, cuboid in CUBOID:
        found = size.whole(axis, least=1)
        if found % cuboid:
            near = max(cuboid, round(found / cuboid) * cuboid)
            size.problem(axis, f"{found} is no multiple of {cuboid}; the nearest is {near}")
    return (size.raw("x"), size.raw("y"), size.raw("z")), []


def _plugin(client: Section, key: str) -> BossPlugin:
    processor = client.section(key)
    processor.section("params")
    return BossPlugin(client.place_of(key), processor.text("class"), processor.raw("params"))


def _secrets(value: JSONValue, place: str) -> Iterator[str]:
    """Yield where a document holds a secret: it would be kept with the job, and is never shown."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{place}.{key}" if place else key
            if _SECRET.search(key) and inner:
                yield f"{below}: {_NO_SECRETS}"
            else:
                yield from _secrets(inner, below)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _secrets(inner, f"{place}[{number}]")
    elif isinstance(value, str) and _LOGIN_IN_ADDRESS.search(value):
        yield f"{place}: holds a name or a password before the @; remove it"
