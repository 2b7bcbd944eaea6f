"""Templates: the CSV of an upload without rows, and what a JSON Schema asks of metadata."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imaging_db.config.csv_text import guarded
from imaging_db.config.json_file import read_json_object
from imaging_db.config.manifest import COLUMNS
from imaging_db.config.metadata_schema import MetadataSchema
from imaging_db.config.schema_fields import FIELD_COLUMNS, SchemaFields
from imaging_db.errors import ConfigError
from imaging_db.model import UploadType

UPLOAD_NAME = "upload_template.csv"
FIELDS_NAME = "metadata_template.csv"
DOCUMENT_NAME = "metadata_template.json"
_ONLY_FRAMES = ("positions",)
MEANINGS = {
    "dataset_id": "needed: <ID>-YYYY-MM-DD-HH-MM-SS-<number of four digits>",
    "file_name": "needed: the file or folder, from here or from where the CSV lies",
    "description": "what people should know",
    "positions": "only these positions, such as [0, 2]; without them all",
    "parent_dataset_id": "the dataset that it was made from",
}


@dataclass(frozen=True, slots=True)
class MetadataTemplate:
    """What a schema asks for: the content of two files, and ``notes`` on what they cannot show."""

    fields_csv: bytes
    document_json: bytes
    notes: tuple[str, ...]


def upload_columns(upload_type: UploadType) -> tuple[str, ...]:
    """Return the columns that a CSV may have; files are not split, so they have no positions."""
    if upload_type is UploadType.FRAMES:
        return COLUMNS
    return tuple(name for name in COLUMNS if name not in _ONLY_FRAMES)


def upload_csv(upload_type: UploadType) -> bytes:
    """Return the CSV of an upload with its header alone."""
    return _csv([upload_columns(upload_type)])


def metadata_template(path: Path) -> MetadataTemplate:
    """Return what the JSON Schema in ``path`` asks of the metadata of a frame.

    Raises
    ------
    ConfigError
        It cannot be read, is no JSON Schema, or has too many fields.
    """
    try:
        schema, judge = read_json_object(path), MetadataSchema(path)
    except RecursionError as error:
        raise _endless(path) from error
    try:
        found = SchemaFields(schema)
        document, problem = found.document, _problem(judge, found.document)
        if problem is not None:  # what is optional may be what contradicts
            least = SchemaFields(schema, only_needed=True).document
            if _problem(judge, least) is None:
                document = least
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.message}") from error
    except RecursionError as error:
        raise _endless(path) from error
    notes = [f"the whole document: {remark}" for remark in found.remarks]
    notes += [f"{one.field}: {one.remark}" for one in found.fields if one.remark]
    if problem is not None:
        told = (
            "has only the fields that are needed"
            if document is not found.document
            else "does not fit"
        )
        notes.append(f"{DOCUMENT_NAME} {told}: {problem}")
    if not found.fields:
        notes.append(f"{path.name} names no field")
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return MetadataTemplate(_csv([FIELD_COLUMNS, *found.rows()]), _encoded(text), tuple(notes))


def _endless(path: Path) -> ConfigError:
    return ConfigError(f"{path}: is nested too deep, or refers to itself without end")


def _problem(judge: MetadataSchema, document: dict[str, object]) -> str | None:
    """Return what is wrong with a document, None where it satisfies the schema."""
    try:
        found = judge.problem(document)  # type: ignore[arg-type]
    except ConfigError as error:
        return error.message
    return None if found is None else f"{found[0]}: {found[1]}"


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(map(guarded, row) for row in rows)
    return _encoded(text.getvalue())


def _encoded(text: str) -> bytes:
    """Return UTF-8; half a character, which JSON can hold, as JSON escapes it."""
    return text.encode(errors="backslashreplace")
