"""Fresh catalogs on both databases, filled with as many rows as are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from benchmarks.catalog_fill import Grid, Metadata, constant, fill
from imaging_db.catalog import Catalog
from imaging_db.catalog.functions import UtcNow
from imaging_db.catalog.tables import AcquisitionRow, DatasetRow
from imaging_db.config.settings import DatabaseSettings
from tests.support.catalog_rows import acquisition, draft

OWNER = "benchmark"


class Database:
    """Fresh catalogs, one after the other, of one kind of database."""

    def __init__(self, folder: Path, server: Any = None) -> None:
        self._folder, self._server, self._number = folder, server, 0

    @contextmanager
    def settings(self) -> Iterator[tuple[DatabaseSettings, Any]]:
        """Give an empty place for a catalog, and what runs statements there as PostgreSQL's superuser."""
        if self._server is None:
            self._number += 1
            path = self._folder / f"{self._number}.sqlite"
            yield DatabaseSettings("sqlite", str(path)), None
            for left in self._folder.glob(f"{path.name}*"):
                left.unlink()
            return
        settings = self._server.create()
        yield settings, lambda *said: self._server.admin(*said, database=settings.dbname)
        self._server.drop(settings)

    @contextmanager
    def fresh(self, *, patience: float | None = None) -> Iterator[tuple[Catalog, Any]]:
        """Give an empty catalog, and what runs statements in it as PostgreSQL's superuser.

        ``patience`` is how many seconds one transaction may take, None for what users have.
        """
        with (
            self.settings() as (settings, admin),
            Catalog.open(settings, create=True, patience=patience) as catalog,
        ):
            yield catalog, admin


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Database]]:
    """Give SQLite in a folder, and a PostgreSQL server of its own."""
    from tests.support.postgres import PostgresServer
    from tests.support.postgres_process import running

    with running() as process:
        server = PostgresServer(process)
        yield {"SQLite": Database(folder), "PostgreSQL": Database(folder, server)}


def filled(
    catalog: Catalog, grids: Sequence[Grid], admin: Any, *, metadata: Metadata = constant
) -> list[str]:
    """Fill a catalog with ready datasets; return their serials."""
    serials = [f"BENCH-2020-01-01-00-00-00-{number:04d}" for number in range(len(grids))]
    for serial, grid in zip(serials, grids, strict=True):
        catalog.claim(draft(serial, grid.frames, acquisition=acquisition(grid.frames)), token=OWNER)
    transactions = catalog._transactions
    ids = transactions.read(
        lambda c: c.scalars(select(AcquisitionRow.id).order_by(AcquisitionRow.dataset_id)).all()
    )
    fill(catalog, list(zip(ids, grids, strict=True)), admin=admin, metadata=metadata)
    ready = update(DatasetRow).values(status="ready", claim_heartbeat=None, published_at=UtcNow())
    transactions.write(lambda c: c.execute(ready))
    return serials
