"""What a JSON Schema asks for, as a list of fields and as a document; what cannot be shown is said."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from imaging_db.config import MetadataSchema
from imaging_db.config.templates import MetadataTemplate, metadata_template
from imaging_db.errors import ConfigError

Rows = dict[str, dict[str, str]]


def template_of(folder: Path, **schema: Any) -> tuple[MetadataTemplate, Rows, Any]:
    """The template of a schema, its rows by field, and its document, which is true to what is said of it."""
    path = folder / "schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    found = metadata_template(path)
    rows = list(csv.DictReader(io.StringIO(found.fields_csv.decode(), newline="")))
    document = json.loads(found.document_json)
    admits = any("does not fit" in note for note in found.notes)
    assert (MetadataSchema(path).problem(document) is None) is not admits
    return found, {row["field"]: row for row in rows}, document


def test_what_is_needed_comes_first(tmp_path: Path) -> None:
    _, rows, document = template_of(
        tmp_path,
        properties={
            "remark": {"type": "string"},
            "stain": {
                "type": "object",
                "required": ["name"],
                "properties": {"dose": {"type": "number"}, "name": {"type": "string"}},
            },
            "operator": {"type": "string"},
        },
        required=["operator"],
    )
    assert {field: row["needed"] for field, row in rows.items()} == {
        "operator": "yes",
        "stain.name": "with stain",
        "remark": "no",
        "stain": "no",
        "stain.dose": "no",
    }
    assert list(rows) == ["operator", "stain.name", "remark", "stain", "stain.dose"]
    assert list(document) == ["operator", "remark", "stain"]


def test_units_values_defaults_and_bounds_are_told(tmp_path: Path) -> None:
    _, rows, document = template_of(
        tmp_path,
        properties={
            "exposure": {
                "type": "number",
                "unit": "ms",
                "description": "of the camera",
                "exclusiveMinimum": 0,
                "maximum": 1000,
            },
            "least": {"type": "integer", "minimum": 0},
            "stain": {"enum": ["DAPI", "Hoechst"]},
            "species": {"type": "string", "default": "mouse"},
            "version": {"const": 2},
            "when": {"type": "string", "format": "date-time"},
            "count": {"type": "integer", "multipleOf": 5, "minimum": 11},
            "code": {"type": "string", "minLength": 3},
            "cell": {"examples": ["HeLa"]},
            "nothing": {"type": "null"},
            "formula": {"type": "string", "description": "=1+1"},
            "a.b": {"type": ["boolean", "null"]},
        },
    )
    exposure = rows["exposure"]
    assert (exposure["unit"], exposure["description"]) == ("ms", "of the camera")
    assert exposure["allowed"] == "more than 0; at most 1000"
    assert (rows["least"]["allowed"], rows["stain"]["allowed"]) == ("at least 0", "DAPI, Hoechst")
    assert (rows["species"]["default"], rows["species"]["example"]) == ("mouse", "mouse")
    assert rows["formula"]["description"] == "'=1+1"
    assert rows['["a.b"]']["type"] == "boolean or null"
    assert document["stain"] == "DAPI"
    assert (document["version"], document["count"], document["code"]) == (2, 15, "xxx")
    assert (document["cell"], document["nothing"]) == ("HeLa", None)
    assert 0 < document["exposure"] <= 1000


def test_arrays_show_their_items(tmp_path: Path) -> None:
    _, rows, document = template_of(
        tmp_path,
        required=["lasers", "size"],
        properties={
            "lasers": {
                "type": "array",
                "minItems": 2,
                "items": {
                    "type": "object",
                    "required": ["nm"],
                    "properties": {"nm": {"type": "integer"}},
                },
            },
            "size": {
                "type": "array",
                "prefixItems": [{"type": "number"}, {"type": "string"}],
                "items": False,
            },
            "free": {"type": "array"},
        },
    )
    assert rows["lasers[].nm"]["needed"] == "yes"
    assert [field for field in rows if field.startswith("size")] == ["size", "size[0]", "size[1]"]
    assert document == {"lasers": [{"nm": 0}, {"nm": 0}], "size": [0, ""], "free": []}


def test_references_are_followed_inside_the_document(tmp_path: Path) -> None:
    found, rows, document = template_of(
        tmp_path,
        **{"$defs": {"a/b": {"type": "string", "description": "a name"}, "tree": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"$ref": "#/$defs/a~1b"}, "inner": {"$ref": "#/$defs/tree"}},
        }}},
        required=["tree"],
        properties={"tree": {"$ref": "#/$defs/tree"}, "other": {"$ref": "https://example.org/x.json"}},
    )  # fmt: skip
    assert rows["tree.name"]["description"] == "a name"
    assert document == {"tree": {"name": ""}}
    assert found.notes == (
        "tree.inner: repeats #/$defs/tree: what is nested again is not shown",
        "other: refers to https://example.org/x.json, which cannot be looked up here",
        "metadata_template.json has only the fields that are needed: "
        f"{tmp_path / 'schema.json'}: cannot resolve 'https://example.org/x.json'",
    )


def test_of_several_forms_the_first_is_shown_and_said(tmp_path: Path) -> None:
    found, rows, document = template_of(
        tmp_path,
        properties={
            "source": {
                "oneOf": [
                    {"title": "lamp", "type": "object", "required": ["watt"],
                     "properties": {"watt": {"type": "number"}}},
                    {"title": "laser", "type": "object", "required": ["nm"],
                     "properties": {"nm": {"type": "integer"}}},
                ]
            },
            "stain": {"oneOf": [{"const": "DAPI"}, {"const": "Hoechst"}]},
            "dose": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
    )  # fmt: skip
    assert rows["source"]["remark"] == "one of 2 forms: lamp, laser; the first is shown"
    assert rows["source.watt"]["needed"] == "with source"
    assert rows["stain"]["allowed"] == "DAPI, Hoechst"
    assert (rows["dose"]["type"], rows["dose"]["remark"]) == ("number or null", "")
    assert document == {"source": {"watt": 0}, "stain": "DAPI", "dose": 0}
    assert len(found.notes) == 1


def test_parts_of_allof_are_one(tmp_path: Path) -> None:
    _, rows, document = template_of(
        tmp_path,
        allOf=[
            {"required": ["a"], "properties": {"a": {"type": "integer"}}},
            {"required": ["b"], "properties": {"a": {"minimum": 3}, "b": {"type": "string"}}},
        ],
    )
    assert rows["a"]["allowed"] == "at least 3"
    assert document == {"a": 3, "b": ""}


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    found, rows, _ = template_of(
        tmp_path,
        required=["code"],
        properties={"code": {"type": "string", "pattern": "^[A-Z]{3}$"}, "never": False},
        additionalProperties=False,
        **{"if": {"required": ["x"]}, "then": {"required": ["y"]}},
    )
    assert rows["code"]["allowed"] == "matches ^[A-Z]{3}$"
    assert found.notes[:3] == (
        "the whole document: more rules in the schema: if",
        "the whole document: no other fields",
        "never: must not be there",
    )
    assert found.notes[3].startswith("metadata_template.json does not fit: ")


def test_a_schema_without_fields_says_so(tmp_path: Path) -> None:
    found, rows, document = template_of(tmp_path, type="object")
    assert (rows, document) == ({}, {})
    assert found.notes == ("schema.json names no field",)


def test_references_that_multiply_without_end_are_refused(tmp_path: Path) -> None:
    defs = {
        f"d{n}": {"properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcdefgh"}}
        for n in range(9)
    }
    defs["d9"] = {}
    with pytest.raises(ConfigError, match="more than 10000 parts"):
        template_of(tmp_path, **{"$defs": defs, "$ref": "#/$defs/d0"})


@pytest.mark.parametrize(
    "properties", [{"x": {"$ref": "#/properties/x"}}, {"x": {"allOf": [{"$ref": "#"}]}}]
)
def test_a_schema_that_refers_to_itself_ends(tmp_path: Path, properties: dict[str, Any]) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"properties": properties}))
    assert any("repeats" in note for note in metadata_template(path).notes)


def test_draft_4_says_with_a_boolean_that_a_bound_is_exclusive(tmp_path: Path) -> None:
    found, rows, document = template_of(
        tmp_path,
        properties={"x": {"type": "number", "minimum": 0, "exclusiveMinimum": True}},
        **{"$schema": "http://json-schema.org/draft-04/schema#"},
    )
    assert rows["x"]["allowed"] == "at least 0; not the least itself"
    assert document["x"] > 0
    assert found.notes == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"type": "array", "minItems": 2.0, "items": {"const": 1}}, [1, 1]),
        ({"type": "integer", "minimum": 10**400}, 0),
        ({"type": "number", "minimum": 5, "multipleOf": 1e-320}, 0),
        ({"type": "number", "minimum": 10**400, "maximum": 10**401}, 0),
        ({"const": "half \ud800"}, "half \ud800"),
    ],
)
def test_odd_numbers_and_characters_are_no_reason_to_give_up(
    tmp_path: Path, field: dict[str, Any], value: object
) -> None:
    assert template_of(tmp_path, properties={"x": field}, required=["x"])[2] == {"x": value}


def test_what_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"type": "string"}
    for _ in range(400):
        nested = {"type": "object", "required": ["a"], "properties": {"a": nested}}
    for schema in (nested, {"$ref": "#"}):
        with pytest.raises(ConfigError, match="nested too deep, or refers to itself without end"):
            template_of(tmp_path, **schema)
