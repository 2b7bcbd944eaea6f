"""The read side's benchmark: its catalogs hold what its questions ask for, and its ways read the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.catalog_fill import Grid, Metadata, micro_manager, varied
from benchmarks.catalogs import filled
from benchmarks.read_frames import measure_frames
from benchmarks.scratch import QUICK, VARIABLE
from imaging_db.catalog import Catalog
from imaging_db.config.settings import DatabaseSettings
from imaging_db.model import parse_expression
from tests.support.postgres import PostgresServer

GRID = Grid(2, 5, 10, 2)


@pytest.fixture(params=[varied, micro_manager])
def metadata(request: pytest.FixtureRequest) -> Metadata:
    kind: Metadata = request.param
    return kind


@pytest.fixture(params=["sqlite", "postgresql"])
def catalog(
    request: pytest.FixtureRequest, tmp_path: Path, metadata: Metadata
) -> Iterator[Catalog]:
    """Two datasets of 200 frames."""
    admin = None
    where = DatabaseSettings("sqlite", str(tmp_path / "catalog.sqlite"))
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        where = server.create()

        def admin(*said: str) -> object:
            return server.admin(*said, database=where.dbname)

    with Catalog.open(where, create=True) as opened:
        filled(opened, [GRID, GRID], admin, metadata=metadata)
        yield opened
    if request.param == "postgresql":
        server.drop(where)


def test_frames_have_metadata_that_vary(catalog: Catalog, metadata: Metadata) -> None:
    def count(query: str) -> int:
        return catalog.search.count_frames(parse_expression(query))

    assert count("meta.Exposure-ms > 99") == 4
    assert count("meta.Exposure-ms > 49") == 2 * 102
    assert count("meta.Filter = F7") == 20
    assert [count(f"meta.Number = {number}") for number in (1000000, 2000199, 1000200)] == [1, 1, 0]
    (found,) = catalog.search.frames(parse_expression("meta.Number = 1000007"))
    assert (found.frame.coords.slice, found.frame.coords.channel) == (2, 1)
    size = len(str(found.frame.metadata))
    assert (2000 < size < 4500) if metadata is micro_manager else size < 100


def test_all_ways_to_read_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(QUICK, "1")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = list(measure_frames(tmp_path, 1))
    assert [result.unit for result in found[:3]] == ["ms"] * 3
    assert sum(bool(result.target) for result in found) == 2
    assert all(value > 0 for result in found for value in result.values)
