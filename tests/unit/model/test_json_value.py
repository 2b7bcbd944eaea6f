"""Metadata is made such that PostgreSQL's JSONB and SQLite keep it alike."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.model import clean_json, clean_object


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("\U0001f52c", "\U0001f52c"),
        (2**70, 2**70),
        (np.int64(3), 3),
        (np.float32("nan"), "NaN"),
        (np.arange(3), [0, 1, 2]),
        ((1, {2}), [1, [2]]),
        (b"\xff", "\xff"),
        (Path("a"), "a"),
        (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
        ({1: {"k\0": None}}, {"1": {"k\ufffd": None}}),
    ],
)
def test_what_json_lacks_is_spelled_out(value: Any, clean: Any) -> None:
    assert clean_json(value) == clean


def test_endless_nesting_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(1000):
        nested = [nested]
    with pytest.raises(ValueError, match="nested deeper"):
        clean_json(nested)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(st.dictionaries(st.text(), values))
def test_clean_metadata_is_strict_json_without_nul(value: dict[str, Any]) -> None:
    text = json.dumps(clean_object(value), allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert "\\u0000" not in text.replace("\\\\", "")
    assert clean_json(json.loads(text)) == json.loads(text)
