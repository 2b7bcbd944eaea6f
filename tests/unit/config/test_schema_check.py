"""Compiled schemas: a yes of theirs is a yes of the full validator, in every dialect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validators

from imaging_db.config import MetadataSchema
from imaging_db.config.schema_check import compile_schema

NAMES = st.sampled_from(["a", "b", "c"])
KINDS = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])
SCHEMAS = st.recursive(
    st.booleans() | st.fixed_dictionaries({}, optional={"type": KINDS, "title": st.text()}),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": KINDS | st.lists(KINDS, min_size=1, unique=True),
            "required": st.lists(NAMES, min_size=1, unique=True),
            "properties": st.dictionaries(NAMES, inner),
            "minimum": st.just(0),
        },
    ),
    max_leaves=6,
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([1.0, 1.5, "x", 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)
DIALECTS = [
    validators.Draft4Validator,
    validators.Draft6Validator,
    validators.Draft7Validator,
    validators.Draft201909Validator,
    validators.Draft202012Validator,
]


@given(SCHEMAS, DOCUMENTS)
def test_a_yes_is_a_yes_of_the_full_validator(schema: Any, document: Any) -> None:
    fits = compile_schema(schema)
    if fits is None or not fits(document):
        return
    for kind in DIALECTS if isinstance(schema, dict) else DIALECTS[1:]:
        assert kind(schema).is_valid(document)


SCHEMA = {
    "type": "object",
    "required": ["frame"],
    "properties": {"frame": {"type": "object", "properties": {"z": {"type": "integer"}}}},
}


@pytest.mark.parametrize(
    ("document", "fits"),
    [
        ({"frame": {"z": 3, "more": "x"}}, True),
        ({"frame": {}}, True),
        ({"frame": {"z": 3.5}}, False),
        ({"frame": {"z": True}}, False),
        ({"frame": 1}, False),
        ({}, False),
    ],
)
def test_the_usual_schema_is_compiled(document: Any, fits: bool) -> None:
    compiled = compile_schema(SCHEMA)
    assert compiled is not None
    assert compiled(document) is fits


@pytest.mark.parametrize(
    "more", [{"minimum": 1}, {"$ref": "#"}, {"properties": {"frame": {"enum": [1]}}}]
)
def test_other_keywords_are_left_to_the_validator(more: dict[str, Any]) -> None:
    assert compile_schema({**SCHEMA, **more}) is None


def test_what_is_wrong_is_told_as_before(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    schema = MetadataSchema(path)
    assert schema.problem({"frame": {"z": 1}}) is None
    assert schema.problem({"frame": {"z": 1.0}}) is None
    assert schema.problem({"frame": {"z": "1"}}) == ("frame.z", "'1' is not of type 'integer'")
    assert schema.problem({}) == ("metadata", "'frame' is a required property")
