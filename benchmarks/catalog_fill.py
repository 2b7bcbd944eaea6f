"""Catalogs of ten million rows in a minute or two: the rows are made by the databases themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from benchmarks.mmwriter import PROPERTIES
from imaging_db.catalog import Catalog

Metadata: TypeAlias = Callable[[int], str]
"""Makes SQL of an acquisition's number: the JSON text of its frame ``n``, counted from 0."""

COLUMNS = (
    "channel_idx, slice_idx, time_idx, pos_idx, channel_name, file_name, sha256, metadata_json, "
    "frames_global_id, object_sha256, object_size, codec, position_name, "
    "intensity_min, intensity_max, intensity_mean, saturated_share, focus"
)
_NAME_ORDER = "frames_global_id, channel_idx, slice_idx, time_idx, pos_idx"
_UNIQUE = "frames_global_id, pos_idx, time_idx, channel_idx, slice_idx"


@dataclass(frozen=True)
class Grid:
    """How many channels, slices, timepoints and positions a dataset has; it has every frame of them."""

    channels: int
    slices: int
    timepoints: int
    positions: int

    @property
    def frames(self) -> int:
        """Return how many frames that is."""
        return self.channels * self.slices * self.timepoints * self.positions


_Insert: TypeAlias = tuple[int, Grid, str]


def constant(acquisition: int) -> str:
    """Return metadata that are the same for every frame."""
    return """'{"Exposure-ms": 12.5}'"""


def varied(acquisition: int) -> str:
    """Return metadata of three keys: one of 100 exposures, one of 20 filters, a number of its own.

    The exposures are 0.5 to 99.5, the filters F0 to F19; numbers begin at a million times the acquisition.
    """
    return f"""'{{' || {_keys(acquisition)} || '}}'"""


def micro_manager(acquisition: int) -> str:
    """Return the keys of `varied` among the 3 KB that Micro-Manager writes of every frame."""
    inside = f"""'{{"MicroManagerMetadata": {{' || {_keys(acquisition)}"""
    return f"{inside} || ',{PROPERTIES}' || '}}'"


def _keys(acquisition: int) -> str:
    number = f"({acquisition} * 1000000 + n)"
    exposure = """'"Exposure-ms": ' || (n % 100) || '.5, '"""
    return f"""{exposure} || '"Filter": "F' || (n % 20) || '", "Number": ' || {number}"""


def fill(
    catalog: Catalog,
    acquisitions: list[tuple[int, Grid]],
    *,
    admin: Any = None,
    metadata: Metadata = constant,
) -> None:
    """Insert the frames of acquisitions; ``admin`` runs statements as superuser of PostgreSQL."""
    inserts = [(number, grid, metadata(number)) for number, grid in acquisitions]
    if admin is None:
        _fill_sqlite(catalog, inserts)
    else:
        _fill_postgresql(admin, inserts)


def _fill_sqlite(catalog: Catalog, inserts: list[_Insert]) -> None:
    with catalog._transactions.engine.connect() as connection:
        connection = connection.execution_options(imaging_db_write=True)
        with connection.begin():
            connection.exec_driver_sql("DROP INDEX ix_frames_name_order")
            for insert in inserts:
                connection.exec_driver_sql(_spelled(*insert, _sqlite_source))
            connection.exec_driver_sql(
                f"CREATE INDEX ix_frames_name_order ON frames ({_NAME_ORDER})"
            )


def _fill_postgresql(admin: Callable[..., object], inserts: list[_Insert]) -> None:
    """Without triggers and indexes, which are made again at the end: a third of the time."""
    admin(
        "SET session_replication_role = replica",
        "SET maintenance_work_mem = '512MB'",
        "DROP INDEX ix_frames_name_order",
        "ALTER TABLE frames DROP CONSTRAINT uq_frames_coords",
        *(_spelled(*insert, _postgresql_source) for insert in inserts),
        f"CREATE INDEX ix_frames_name_order ON frames ({_NAME_ORDER})",
        f"ALTER TABLE frames ADD CONSTRAINT uq_frames_coords UNIQUE ({_UNIQUE})",
        "ALTER INDEX ix_frames_name_order OWNER TO lab",
        "ANALYZE frames",
    )


def _spelled(number: int, grid: Grid, metadata: str, source: Callable[[Grid], str]) -> str:
    json = f"CAST({metadata} AS jsonb)" if source is _postgresql_source else metadata
    return (
        f"INSERT INTO frames ({COLUMNS}) SELECT c, z, t, p, 'channel ' || c, "  # noqa: S608
        "'im_c00' || c || '_z' || z || '_t' || t || '_p' || p || '.png', hash, "
        f"{json}, {number}, hash, 3700000 + z, 'png', 'Pos' || p, "
        f"100.0, 4000.0, 517.123456, 0.0, 1234.5678 FROM ({source(grid)}) AS made"
    )


def _postgresql_source(grid: Grid) -> str:
    number = f"(((p * {grid.timepoints} + t) * {grid.channels} + c) * {grid.slices} + z)"
    return (
        f"SELECT c, z, t, p, {number} AS n, lpad(to_hex({number}), 64, '0') AS hash "  # noqa: S608
        f"FROM generate_series(0, {grid.positions - 1}) AS p, "
        f"generate_series(0, {grid.timepoints - 1}) AS t, "
        f"generate_series(0, {grid.channels - 1}) AS c, "
        f"generate_series(0, {grid.slices - 1}) AS z ORDER BY p, t, c, z"
    )


def _sqlite_source(grid: Grid) -> str:
    z, c, t = grid.slices, grid.channels, grid.timepoints
    return (
        "WITH RECURSIVE s(n) AS (VALUES(0) UNION ALL SELECT n + 1 FROM s "  # noqa: S608
        f"WHERE n < {grid.frames - 1}) SELECT n / {z} % {c} AS c, n % {z} AS z, "
        f"n / {z * c} % {t} AS t, n / {z * c * t} AS p, n, printf('%064x', n) AS hash "
        "FROM s"
    )
