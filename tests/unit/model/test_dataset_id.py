"""A dataset id is <ID>-YYYY-MM-DD-HH-MM-SS-<SSSS>, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import InvalidDatasetId
from imaging_db.model import DatasetId


def test_an_id_tells_project_time_and_number() -> None:
    parsed = DatasetId.parse("ISP-2018-06-08-15-45-00-0001")
    assert parsed.project == "ISP"
    assert parsed.acquired_at == datetime(2018, 6, 8, 15, 45, tzinfo=UTC)
    assert parsed.number == 1
    assert str(parsed) == "ISP-2018-06-08-15-45-00-0001"


@pytest.mark.fault("P3")
@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "../x",
        "/etc",
        "a/b",
        "a\\b",
        "CON",
        "x\0y",
        "..%2f",
        "ISP",
        "ISP-2018-06-08-15-45-00",
        "ISP-2018-06-08-15-45-00-001",
        "ISP-2018-06-08-15-45-00-00001",
        "IS-P-2018-06-08-15-45-00-0001",
        "../ISP-2018-06-08-15-45-00-0001",
        "ISP-2018-06-08-15-45-00-0001/..",
        "ISP-2018-02-30-15-45-00-0001",
        "ISP-2018-13-01-15-45-00-0001",
        "ISP-2018-06-08-25-45-00-0001",
        "ISP-0000-06-08-15-45-00-0001",
        " ISP-2018-06-08-15-45-00-0001",
        "ISP-2018-06-08-15-45-00-0001\n",
        "ISP-２０１８-06-08-15-45-00-0001",
        "A" * 65 + "-2018-06-08-15-45-00-0001",
        "A" * 100_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidDatasetId):
        DatasetId.parse(text)


def test_a_year_keeps_its_four_digits() -> None:
    assert str(DatasetId.parse("X-0999-06-08-15-45-00-0001")) == "X-0999-06-08-15-45-00-0001"


@pytest.mark.fault("P3")
@given(st.text())
def test_no_text_is_both_accepted_and_unsafe_as_a_path(text: str) -> None:
    try:
        DatasetId.parse(text)
    except InvalidDatasetId:
        return
    assert text.isascii()
    assert not set(text) & set("/\\.: \0")
