"""Rows of frames as a Parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from imaging_db.api.extras import require
from imaging_db.errors import UsageError
from imaging_db.model.expression_parser import parse_field
from imaging_db.model.fields import Field, Kind
from imaging_db.transfer.whole_file import written_to

_BATCH = 10_000
_WHOLE = {
    "objects",
    "channels",
    "slices",
    "timepoints",
    "positions",
    "expected",
    "lacking",
    "width",
    "height",
    "colors",
    "bytes",
}


def write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows to a new Parquet file, batch by batch, and return how many they were.

    Columns of metadata are JSON text, because frames may differ in what they hold there.

    Raises
    ------
    ConfigError
        pyarrow is not installed.
    UsageError, StoreUnavailable
        The file exists, or its folder does not; the disk is full.
    """
    arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    fields = [parse_field(name) for name in columns]
    schema = arrow.schema([(n, _type(arrow, f)) for n, f in zip(columns, fields, strict=True)])
    if path.exists():
        raise UsageError(f"{path} exists already", hint="name another file")
    part = path.with_name(f"{path.name}.part")
    number = 0
    try:
        with written_to(path), parquet.ParquetWriter(part, schema) as writer:
            for batch in _batches(rows):
                values = [
                    arrow.array([_plain(field, value) for value in column], kind)
                    for field, column, kind in zip(
                        fields, zip(*batch, strict=True), schema.types, strict=True
                    )
                ]
                writer.write_table(arrow.table(values, schema=schema))
                number += len(batch)
        with written_to(path):
            part.replace(path)
    finally:
        with suppress(OSError):  # as where the folder is a file
            part.unlink()
    return number


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    each = iter(rows)
    while batch := list(islice(each, _BATCH)):
        yield batch


def _type(arrow: Any, field: Field) -> Any:
    if field.kind is Kind.INDEX or field.name in _WHOLE:
        return arrow.int64()
    if field.kind is Kind.TAG:
        return arrow.list_(arrow.string())
    types = {
        Kind.NUMBER: arrow.float64(),
        Kind.FLAG: arrow.bool_(),
        Kind.TIME: arrow.timestamp("us", tz="UTC"),
    }
    return types.get(field.kind, arrow.string())


def _plain(field: Field, value: Any) -> Any:
    if field.kind is Kind.JSON and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value
