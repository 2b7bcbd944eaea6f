"""Queries are read into trees; what cannot be read is refused at its character."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging_db.errors import UsageError
from imaging_db.model import IndexRange, parse_expression
from imaging_db.model.expression import (
    And,
    Comparison,
    Edge,
    Glob,
    Mention,
    Missing,
    Not,
    Or,
    Value,
)
from imaging_db.model.fields import FIELDS, field_named
from tests.support.random_catalog import QUESTIONS


def values(query: str) -> tuple[Value, ...]:
    """The values of a query that is one comparison."""
    found = parse_expression(query)
    assert isinstance(found, Comparison)
    return found.values


def test_not_binds_first_and_or_last() -> None:
    found = parse_expression("not a or b and (c or d)")
    a, b, c, d = map(Mention, "abcd")
    assert found == Or((Not(a), And((b, Or((c, d))))))


def test_words_without_an_operator_are_looked_for_one_by_one_and_a_quoted_phrase_as_it_is() -> None:
    assert parse_expression('zebrafish "two  days" x') == And(
        (Mention("zebrafish"), Mention("two  days"), Mention("x"))
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("channel = GFP, 'a b', \"it's\"", ("GFP", "a b", "it's")),
        ("channel in (GFP, DAPI)", ("GFP", "DAPI")),
        ("channel = 405", ("405",)),
        ("channel = G*", (Glob("G*"),)),
        ("channel = 'a?\\*'", (Glob("a?\\*"),)),
        ("channel = '\\*'", ("*",)),
        ("channel ~ 'a*'", ("a*",)),
        ("serial = C:\\data", ("C:\\data",)),
        ("z = 3", (IndexRange(3, 4),)),
        (
            "z = 0:10:5, 7, ::2, 3:",
            tuple(map(IndexRange, (0, 7, 0, 3), (10, 8, None, None), (5, 1, 2, 1))),
        ),
        ("Z = FIRST, mid, Last", (Edge.FIRST, Edge.MID, Edge.LAST)),
        ("z > 3", (3,)),
        ("mean = 1, -2.5, 1e3", (1, -2.5, 1000.0)),
        ("meta.x = 1, true, '1', True2", (1, True, "1", "True2")),
        ("blank", (True,)),
        ("repeat = FALSE", (False,)),
        ("type = file", ("file",)),
        ("note.stage = 3", ("3",)),
    ],
)
def test_values_are_read_by_the_kind_of_their_field(
    query: str, expected: tuple[Value, ...]
) -> None:
    assert values(query) == expected
    assert [type(one) for one in values(query)] == [type(one) for one in expected]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2024", "2024-01-01T00:00:00", "2025-01-01T00:00:00"),
        ("2024-12", "2024-12-01T00:00:00", "2025-01-01T00:00:00"),
        ("2024-02-29", "2024-02-29T00:00:00", "2024-03-01T00:00:00"),
        ("2024-02-29T23", "2024-02-29T23:00:00", "2024-03-01T00:00:00"),
        ("'2024-02-29 23:59'", "2024-02-29T23:59:00", "2024-03-01T00:00:00"),
        ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59", "2024-03-01T00:00:00"),
    ],
)
def test_a_date_is_as_precise_as_it_is_written(text: str, start: str, end: str) -> None:
    (period,) = values(f"acquired = {text}")
    assert f"{period.start.isoformat()}" == f"{start}+00:00"
    assert f"{period.end.isoformat()}" == f"{end}+00:00"


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("meta.Exposure-ms is null", ("Exposure-ms",)),
        ("META.a.b[0][12].c is null", ("a", "b", 0, 12, "c")),
        ("global.\"Camera-1 Gain\".'a.b' is null", ("Camera-1 Gain", "a.b")),
        ('dataset."a\\"b" is null', ('a"b',)),
        ("note.a.b is null", ("a.b",)),
    ],
)
def test_paths_into_metadata(query: str, path: tuple[str | int, ...]) -> None:
    found = parse_expression(query)
    assert isinstance(found, Missing)
    assert found.field.path == path
    assert parse_expression(str(found)) == found


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "chanel = GFP",
            "unknown field 'chanel' at character 1: '>>chanel = GFP'; did you mean channel or channels?",
        ),
        (
            "z = 1 and exposure > 5",
            "unknown field 'exposure' at character 11: '>>exposure > 5'; metadata is meta.<name>",
        ),
        ("z = abc", "not 'abc' at character 5: '>>abc'"),
        ("z = 1 and meta" + ".a" * 51 + " = 1", "more than 50 parts at character 115: '>>.a = 1'"),
        ("channel = " + "[" * 14_000 + "*", "longer than 40000 bytes at character 11: '>>[[["),
        ("channel = 'x', '" + "é" * 20_000 + "*'", "longer than 40000 bytes at character 16:"),
        ("tag = '" + "\\*" * 14_000 + "*'", "longer than 40000 bytes at character 7:"),
        ("z = 1.5", "not '1.5' at character 5"),
        ("z = -1", "not '-1' at character 5"),
        ("z = 5:3", "5:3 holds no z; the end of a range is not part of it at character 5"),
        ("z >= mid", "z is a whole number from 0, not 'mid' at character 6"),
        (
            "acquired > 5",
            "acquired is a date such as 2024, 2024-01 or 2024-01-31, not '5' at character 12",
        ),
        ("acquired = 2023-02-29", "not '2023-02-29' at character 12"),
        ("min = red", "min is a number, not 'red' at character 7"),
        ("min = '5'", "min is a number, not '5' at character 7"),
        ("exposure_ms", None),
        ("blank = 3", "blank is true or false, not '3' at character 9"),
        ("type = frame", "type is frames or file, not 'frame' at character 8"),
        ("z ~ 3", "~ does not fit z at character 3: '>>~ 3'; write one of = != < <= > >="),
        ("meta.a < true", "true has no order; write = or != at character 10"),
        ("meta.a != 1, b", "!= mixes numbers, texts and truth at character 8"),
        ("mean < 1, 2", "< takes one value, not a list at character 9"),
        ("z == 1", "== is written = at character 3"),
        ("z = 1 && t = 1", "&& is written and at character 7"),
        ("z = 1 t = 1", "and or or is missing at character 7: '>>t = 1'"),
        ("z =", "a value for z is missing at its end"),
        ("z in (1", ", or ) is missing at its end"),
        ("(z = 1", "this parenthesis is never closed at character 1"),
        ("z = 1)", "nothing was opened that this closes at character 6"),
        ("channel = 'GFP", "this quote does not end at character 11"),
        ("meta. = 1", "this is no path such as meta.Exposure-ms or meta.ROI[0] at character 5"),
        ("meta.a[x] = 1", "this is no path such as meta.Exposure-ms or meta.ROI[0] at character 7"),
        ("z = null", "null is no value at character 5: '>>null'; write z is null"),
        ("and", "a condition is missing at character 1"),
        ("  ", "the query is empty at its end; such as channel = GFP and z = mid"),
        ("mean = " + "9" * 30, "does not fit into 64 bits at character 8"),
        ("mean = 1e999", "1e999 is larger than any number here at character 8"),
        ("(" * 60 + "z = 1", "nested deeper than 50 levels at character 51"),
        ("not " * 60 + "z = 1", "nested deeper than 50 levels at character 201"),
        ("z = " + ", ".join(["0:2"] * 401), "more than 400 conditions at character"),
        (
            "x" * 50_001,
            "50001 characters are more than a query may have (50000); ask in several parts",
        ),
        ("\x00 = 1", "'\\x00' means nothing at character 1"),
    ],
    ids=lambda text: str(text)[:30],
)
def test_what_is_wrong_is_told_with_its_character_in_one_line(
    query: str, message: str | None
) -> None:
    if message is None:
        assert isinstance(parse_expression(query), Mention)
        return
    with pytest.raises(UsageError) as refusal:
        parse_expression(query, option="--where")
    assert str(refusal.value).startswith("--where: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@given(QUESTIONS)
@settings(max_examples=200, deadline=None)
def test_a_tree_written_as_text_is_read_as_the_same_tree(question: str) -> None:
    found = parse_expression(question)
    assert parse_expression(str(found)) == found
    assert str(parse_expression(str(found))) == str(found)


@given(
    st.text(st.sampled_from("z=<>!~()'\"\\*?:,.-59e metaINornotisnull[]\x00\ud800é\n"), max_size=40)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_expression(text)
    except UsageError:
        return
    assert parse_expression(str(found)) == found


def test_every_field_is_found_by_its_names_in_any_case() -> None:
    names = [name for one in FIELDS for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    for one in FIELDS:
        assert all(field_named(name.upper()) is one for name in (one.name, *one.aliases))


def test_a_long_query_of_many_conditions_is_no_recursion() -> None:
    found = parse_expression(" or ".join(f"mean = {n}" for n in range(400)))
    assert isinstance(found, Or)
    assert len(found.parts) == 400
