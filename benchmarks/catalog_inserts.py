"""Ways to insert the rows of frames: ours, two that are usual, and the driver's own limit."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import starmap
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy.orm import Session

from imaging_db.catalog import Catalog
from imaging_db.catalog.columns import copy_lines, plain
from imaging_db.catalog.frame_rows import frame_columns
from imaging_db.catalog.tables import AcquisitionRow, FrameRow
from imaging_db.model import Claim, FrameCoords, FrameQuality, StoredFrame
from tests.support.catalog_rows import digest

Prepared: TypeAlias = Callable[[], None]
Way: TypeAlias = Callable[[Catalog, Claim, Sequence[StoredFrame]], Prepared]

_AT_ONCE = 10_000
_CORE_AT_ONCE = 1000
_TABLE: Any = FrameRow.__table__


def frames(count: int) -> list[StoredFrame]:
    """Return different frames with quality and small metadata, in the order of acquisition."""
    return list(starmap(_frame, ((n, *divmod(n, 100)) for n in range(count))))


def _frame(number: int, stack: int, in_stack: int) -> StoredFrame:
    (p, t), (c, z) = divmod(stack, 100), divmod(in_stack, 25)
    hashed = digest(number)
    return StoredFrame(
        coords=FrameCoords(c, z, t, p),
        file_name=f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}.png",
        sha256=hashed,
        object_sha256=hashed[::-1],
        object_size=3_700_000 + number % 9973,
        codec="png",
        width=2048,
        height=1024,
        colors=1,
        dtype="uint16",
        channel_name=f"channel {c}",
        position_name=f"Pos{p}",
        metadata={"Exposure-ms": 12.5, "ElapsedTime-ms": number * 10.5},
        quality=FrameQuality(
            100.0, 4000.0 + number % 977, 517 + number / 7, 0.0, 1234 + number / 3
        ),
    )


def ours(batch: int) -> Way:
    """Return our way, with ``batch`` rows in each call of `Catalog.add_frames`."""

    def prepare(catalog: Catalog, claim: Claim, new: Sequence[StoredFrame]) -> Prepared:
        def put() -> None:
            for start in range(0, len(new), batch):
                catalog.add_frames(claim, new[start : start + batch])

        return put

    return prepare


def driver_alone(catalog: Catalog, claim: Claim, new: Sequence[StoredFrame]) -> Prepared:
    """Return what executes many on values, or copies text, that is ready: the most a driver gives."""
    transactions = catalog._transactions
    sqlite = transactions.settings.is_sqlite
    shared = _shared(catalog, claim)
    put = _executemany if sqlite else _copy
    ready: list[Any] = []
    for start in range(0, len(new), _AT_ONCE):
        given = frame_columns(new[start : start + _AT_ONCE], shared)
        columns = {
            name: plain(_TABLE.c[name].type, column, transactions.engine.dialect)
            for name, column in given.items()
        }
        rows: Any = (
            list(zip(*columns.values(), strict=True)) if sqlite else "".join(copy_lines(columns))
        )
        ready.append((list(columns), rows))

    def put_all() -> None:
        for names, rows in ready:
            transactions.write(lambda c, names=names, rows=rows: put(c, names, rows))  # type: ignore[misc]

    return put_all


def _executemany(connection: Connection, names: list[str], rows: Any) -> None:
    marks = ", ".join("?" * len(names))
    connection.exec_driver_sql(f"INSERT INTO frames ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608


def _copy(connection: Connection, names: list[str], text: str) -> None:
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor:
        cursor.copy_expert(
            f"COPY frames ({', '.join(names)}) FROM STDIN", io.StringIO(text), 1 << 16
        )


def core(catalog: Catalog, claim: Claim, new: Sequence[StoredFrame]) -> Prepared:
    """Return SQLAlchemy Core's way: an INSERT of dictionaries, a thousand a transaction."""
    records = _records(catalog, claim, new)

    def put() -> None:
        for start in range(0, len(records), _CORE_AT_ONCE):
            part = records[start : start + _CORE_AT_ONCE]
            catalog._transactions.write(lambda c, part=part: c.execute(insert(_TABLE), part))  # type: ignore[misc]

    return put


def orm(catalog: Catalog, claim: Claim, new: Sequence[StoredFrame]) -> Prepared:
    """Return imagingDB's way: one mapped object a row, added one by one, and one commit."""
    records = _records(catalog, claim, new)

    def put() -> None:
        with Session(catalog._transactions.engine) as session:
            for record in records:
                session.add(FrameRow(**record))
            session.commit()

    return put


def _records(catalog: Catalog, claim: Claim, new: Sequence[StoredFrame]) -> list[dict[str, Any]]:
    columns = frame_columns(new, _shared(catalog, claim))
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _shared(catalog: Catalog, claim: Claim) -> Row[Any]:
    wanted = select(AcquisitionRow.__table__).where(AcquisitionRow.dataset_id == claim.dataset_id)
    return catalog._transactions.read(lambda c: c.execute(wanted).one())
