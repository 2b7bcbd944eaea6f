"""The file in which people say what the catalog cannot know of a study: JSON, or CSV of three columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from imaging_db.errors import ConfigError
from imaging_db.export.rembi_fields import SECTIONS, Field, field_of

Sections: TypeAlias = "dict[str, dict[str, Any]]"
_MOST_DIGITS = 9  # of the number of a row
_CSV_COLUMNS = ("section", "field", "value")


def read_rembi(path: Path) -> Sections:
    """Return what a metadata file says, by section and field; empty texts count as not said.

    Raises
    ------
    ConfigError
        All that is wrong in it: unreadable, unknown sections or fields (the nearest are named), types.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    found = _from_csv(text, path) if path.suffix.lower() == ".csv" else _from_json(text, path)
    problems = list(_problems(found))
    if problems:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return {section: _said(fields) for section, fields in found.items()}


def _from_json(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no JSON object of sections")
    return found


def _from_csv(text: str, path: Path) -> dict[str, Any]:
    """Return sections from rows; a table's field is written ``Authors.1.Name``, lists repeat their row."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    try:
        names, listed = tuple(rows.fieldnames or ()), list(rows)
    except csv.Error as error:
        raise ConfigError(f"{path} is no CSV: line {rows.line_num}: {error}") from error
    if names[:3] != _CSV_COLUMNS:
        raise ConfigError(f"{path}: its first line is not {','.join(_CSV_COLUMNS)}")
    found: dict[str, Any] = {}
    for row in listed:
        section, name, value = (row[column] or "" for column in _CSV_COLUMNS)
        fields = found.setdefault(section.strip(), {})
        _put(fields, section.strip(), name.strip(), value.strip())
    for fields in found.values():
        for name, value in fields.items():
            if isinstance(value, dict):
                fields[name] = [value[number] for number in sorted(value)]
    return found


def _put(fields: dict[str, Any], section: str, name: str, value: str) -> None:
    table, _, rest = name.partition(".")
    number, _, column = rest.partition(".")
    if number.isdecimal() and len(number) <= _MOST_DIGITS and column:
        rows = fields.setdefault(table, {})
        if isinstance(rows, dict):
            rows.setdefault(int(number), {})[column] = value
        else:  # given as one value before: `_problems` tells that there is no such field
            fields[name] = value
        return
    field = field_of(section, name)
    if field is not None and field.many:
        fields.setdefault(name, []).append(value)
    else:
        fields[name] = value


def _problems(found: dict[str, Any]) -> Iterator[str]:
    for section, fields in found.items():
        if section not in SECTIONS:
            yield f"there is no section {section!r}{_nearest(section, SECTIONS)}"
        elif not isinstance(fields, dict):
            yield f"{section} is no object of fields"
        else:
            for name, value in fields.items():
                yield from _field_problems(section, name, value)


def _field_problems(section: str, name: str, value: Any) -> Iterator[str]:
    field = field_of(section, name)
    if field is None:
        names = [field.name for field in SECTIONS[section]]
        yield f"{section} has no field {name!r}{_nearest(name, names)}"
    elif field.columns:
        yield from _table_problems(f"{section}, {name}", field, value)
    elif field.many and not (isinstance(value, list) and all(isinstance(x, str) for x in value)):
        yield f"{section}, {name}: a list of texts is needed"
    elif not field.many and not isinstance(value, (str, int)):
        yield f"{section}, {name}: text is needed"
    if not _is_unicode(json.dumps(value, ensure_ascii=False)):
        yield f"{section}, {name}: half a character (a lone surrogate) is no text"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _table_problems(where: str, field: Field, value: Any) -> Iterator[str]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        yield f"{where}: a list of objects is needed"
        return
    names = [column.name for column in field.columns]
    for row in value:
        for column, cell in row.items():
            if column not in names:
                yield f"{where} has no {column!r}{_nearest(column, names)}"
            elif not isinstance(cell, (str, int)):
                yield f"{where}, {column}: text is needed"


def _nearest(name: str, names: Iterable[str]) -> str:
    found = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say something; a table's rows that are empty say nothing."""
    found = {}
    for name, value in fields.items():
        if isinstance(value, list):
            rows = [_said(x) if isinstance(x, dict) else str(x).strip() for x in value]
            plain: Any = [row for row in rows if row]
        else:
            plain = str(value).strip()
        if plain:
            found[name] = plain
    return found


def template(known: Sections, *, as_csv: bool) -> str:
    """Return a metadata file to fill in, with what is known in it already."""
    sections = {
        section: {field.name: _filled(field, known.get(section, {})) for field in fields}
        for section, fields in SECTIONS.items()
    }
    return to_csv(sections) if as_csv else json.dumps(sections, indent=2, ensure_ascii=False) + "\n"


def _filled(field: Field, known: dict[str, Any]) -> Any:
    if field.columns:
        rows = known.get(field.name) or [{}]
        return [{c.name: row.get(c.name, "") for c in field.columns} for row in rows]
    return known.get(field.name, [""] if field.many else "")


def to_csv(sections: Sections) -> str:
    """Return sections as CSV, a row a value; the fourth column says what a field is."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_CSV_COLUMNS, "about"))
    for section, fields in sections.items():
        for name, value in fields.items():
            for label, cell in _cells(name, value):
                writer.writerow((section, label, cell, _about(section, label)))
    return text.getvalue()


def _about(section: str, label: str) -> str:
    """Return what the field of a row is, or the column of a table's field."""
    name, _, rest = label.partition(".")
    field = field_of(section, name)
    column = rest.partition(".")[2]
    if field is not None and column:
        field = next((x for x in field.columns if x.name == column), None)
    if field is None:
        return ""
    return f"required: {field.about}" if field.required else field.about


def _cells(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, list):
        yield name, value
        return
    for number, item in enumerate(value, 1):
        if isinstance(item, dict):
            yield from ((f"{name}.{number}.{column}", cell) for column, cell in item.items())
        else:
            yield name, item
