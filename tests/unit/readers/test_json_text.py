"""JSON text: the fast parser gives what the standard library gives, and what it calls clean is clean."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imaging_db.model import clean_json
from imaging_db.readers.json_text import parse_json

NUMBERS = st.one_of(
    st.integers(),
    st.integers(min_value=2**62, max_value=2**66),
    st.integers(min_value=-(2**66), max_value=-(2**62)),
    st.floats(),
)
LEAVES = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(), st.characters(categories=["Cs"]))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30
)
PIECES = st.sampled_from(
    [
        *'{}[]:,"\\ \t\n\r\x00\x0b\ufeff',
        *("-", "0", "00", "1", ".5", "e", "E+", "400", "18446744073709551615", "9" * 25),
        *("-0", "1e400", "5e-324", "NaN", "Infinity", "-Infinity", "true", "null", '"a"'),
        *(r'"\u0000"', r'"\ud800"', r'"\ud83d\ude00"', r'"\x"', '"é"', '"\x7f"', '{"a":1,"a":[2]}'),
    ]
)


def outcome(parse: Any, text: Any) -> tuple[str, str]:
    """What comes of parsing: the value with its types and the order of its keys, or that it is refused."""
    try:
        return "value", repr(parse(text))
    except (ValueError, RecursionError) as error:
        return "refused", "ValueError" if isinstance(error, ValueError) else "RecursionError"


def fast(text: str) -> Any:
    return parse_json(text.encode("utf-8")).value


@given(VALUES, st.booleans())
def test_values_are_the_same_as_the_standard_librarys(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    try:
        raw = text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates, which a file cannot hold as UTF-8
        return
    parsed = parse_json(raw)
    assert repr(parsed.value) == repr(json.loads(text))
    if parsed.is_clean:
        assert clean_json(parsed.value) == parsed.value
        assert repr(clean_json(parsed.value)) == repr(parsed.value)


@given(st.lists(PIECES, max_size=8).map("".join))
@example('{"a":18446744073709551616}')
@example('{"a":-9223372036854775809}')
@example("1e400")
@example('["\\ud800"]')
@example("-0")
@example("1234567890.1234567890123456789")
def test_odd_text_is_taken_or_refused_alike(text: str) -> None:
    assert outcome(fast, text) == outcome(json.loads, text)


@given(st.binary(max_size=30))
def test_any_bytes_are_taken_or_refused_alike(raw: bytes) -> None:
    assert outcome(lambda x: parse_json(x).value, raw) == outcome(
        lambda x: json.loads(x.decode("utf-8")), raw
    )


@pytest.mark.parametrize("depth", [40, 60, 99, 200, 900])
def test_deep_nesting_is_taken_alike_and_never_called_clean_beyond_the_limit(depth: int) -> None:
    text = "[" * depth + "1" + "]" * depth
    parsed = parse_json(text.encode())
    assert parsed.value == json.loads(text)
    assert not (parsed.is_clean and depth > 50)


def test_what_needs_cleaning_is_not_called_clean() -> None:
    for text in (r'{"a": "\u0000"}', '{"a": NaN}', r'{"\u0000": 1}', r'["\udc00"]', "[1e999]"):
        parsed = parse_json(text.encode())
        assert not parsed.is_clean, text
        assert repr(parsed.value) == repr(json.loads(text))
    assert parse_json(b'{"a": [1, 2.5, "\\n"]}').is_clean
    assert math.copysign(1, parse_json(b"-0.0").value) == -1
