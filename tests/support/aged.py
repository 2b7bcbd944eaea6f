"""Claims made old: the only way for a test to wait a minute by the database's clock in no time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg2

from imaging_db.config import DatabaseSettings

_OLDER = {
    True: "strftime('%Y-%m-%d %H:%M:%f000', claim_heartbeat, '-120 seconds')",
    False: "claim_heartbeat - interval '120 seconds'",
}


def age_claim(database: DatabaseSettings, serial: str) -> None:
    """Let the owner of a claim have been silent for two minutes."""
    older, mark = _OLDER[database.is_sqlite], "?" if database.is_sqlite else "%s"
    statement = f"UPDATE data_set SET claim_heartbeat = {older} WHERE dataset_serial = {mark}"
    with closing(_connection(database)) as connection, connection:
        cursor = connection.cursor()
        cursor.execute(statement, (serial,))
        assert cursor.rowcount == 1


def _connection(database: DatabaseSettings) -> Any:
    if database.is_sqlite:
        return sqlite3.connect(database.dbname)
    return psycopg2.connect(
        host=database.host,
        port=database.port,
        user=database.username,
        password=database.password,
        dbname=database.dbname,
    )
