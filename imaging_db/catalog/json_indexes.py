"""Indexes on paths into metadata, made where a lab asks for them: queries that compare these paths get fast.

An index is of the expression that `imaging_db.catalog.json_paths` writes into queries. On PostgreSQL it is
two: a tree of the numbers, for comparisons, and a hash of every value, for equality, because a tree would
refuse a row whose text is long.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sqlalchemy import Connection, Dialect, text

from imaging_db.catalog.json_paths import JSONField, is_odd, quoted
from imaging_db.catalog.transactions import Transactions
from imaging_db.errors import UsageError
from imaging_db.model.expression_parser import parse_field
from imaging_db.model.fields import Field, Kind, Level

PREFIX = "ix_json_"
"""How the names of these indexes begin; `imaging_db.catalog.schema` leaves them alone."""

_TABLES = {
    Level.FRAME: "frames",
    Level.ACQUISITION: "frames_global",
    Level.DATASET: "data_set",
}
_PATH = re.compile(r"/\* (.+) \*/")


@dataclass(frozen=True, slots=True)
class JSONIndexes:
    """The indexes of one catalog's metadata."""

    transactions: Transactions

    def make(self, path: str) -> bool:
        """Index a path such as ``meta.Exposure-ms``; return False where it is indexed already.

        Raises
        ------
        UsageError
            It is no path into metadata, or one that this database cannot index.
        """
        field = _indexable(path)

        def work(connection: Connection) -> bool:
            if str(field) in _listed(connection):
                return False
            for statement in _statements(field, connection.dialect):
                plain = connection.execution_options(no_parameters=True)
                plain.exec_driver_sql(statement)
            return True

        return self.transactions.write(work)

    def drop(self, path: str) -> bool:
        """Drop the index of a path; return False where there is none. Raises as `make` does."""
        field = _indexable(path)

        def work(connection: Connection) -> bool:
            known = _listed(connection).get(str(field), [])
            for name in known:
                connection.execute(text(f"DROP INDEX {name}"))
            return bool(known)

        return self.transactions.write(work)

    def paths(self) -> list[str]:
        """Return the paths that are indexed."""
        return sorted(self.transactions.read(_listed))


def _indexable(path: str) -> Field:
    field = parse_field(path, option="index")
    if field.kind is not Kind.JSON:
        raise UsageError(
            f"{path} is no path into metadata",
            hint="such as meta.Exposure-ms; the others need none",
        )
    if "*/" in str(field) or "\n" in str(field):
        raise UsageError(f"{path} cannot be indexed: its key holds */ or a line break")
    return field


def _statements(field: Field, dialect: Dialect) -> list[str]:
    """Return the statements that make the indexes of a path.

    The comment in them tells the path. SQLite keeps it with the index, PostgreSQL gets it said again.
    """
    table = _TABLES[field.level]
    name = PREFIX + hashlib.sha256(str(field).encode()).hexdigest()[:16]
    spelled = JSONField(field, dialect).value.compile(
        dialect=dialect, compile_kwargs={"literal_binds": True, "include_table": False}
    )
    value = str(spelled)
    if dialect.name == "sqlite":
        if is_odd(field):
            raise UsageError(f"{field}: SQLite cannot index a key with quotes or backslashes")
        return [f"CREATE INDEX {name} /* {field} */ ON {table} ({value})"]
    value = value.replace("%%", "%")  # doubled for a driver that looks for parameters
    told = quoted(f"/* {field} */")
    return [
        f"CREATE INDEX {name}_n ON {table} (({value})) WHERE jsonb_typeof({value}) = 'number'",
        f"COMMENT ON INDEX {name}_n IS {told}",
        f"CREATE INDEX {name}_v ON {table} USING hash (({value}))",
        f"COMMENT ON INDEX {name}_v IS {told}",
        # or the planner takes the few datasets for one, and walks the index once for each of them
        "ANALYZE data_set, frames_global, frames",
    ]


_ON_SQLITE = text("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
_ON_POSTGRESQL = text(
    "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relkind = 'i'"
)


def _listed(connection: Connection) -> dict[str, list[str]]:
    """Return the names of our indexes by their path."""
    sqlite = connection.dialect.name == "sqlite"
    found: dict[str, list[str]] = {}
    for name, told in connection.execute(_ON_SQLITE if sqlite else _ON_POSTGRESQL):
        path = _PATH.search(told or "")
        if name.startswith(PREFIX) and path:
            found.setdefault(path[1], []).append(name)
    return found
