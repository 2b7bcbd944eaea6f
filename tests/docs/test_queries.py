"""docs/queries.md: every question has the answer that the page shows, and the page leaves out no field."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from imaging_db import ImagingDB
from imaging_db.model.fields import FIELDS, ROOTS
from tests.support.question_lab import PAGE, answer, build, questions, rows_below

QUESTIONS = questions()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImagingDB]:
    with ImagingDB(build(tmp_path_factory.mktemp("questions") / "lab")) as db:
        yield db


def test_every_question_has_the_answer_that_the_page_shows(lab: ImagingDB) -> None:
    """In one test, because the lab is uploaded once for all of them, on one worker."""
    assert len(QUESTIONS) == 40
    assert {one.query: answer(lab, one.query) for one in QUESTIONS} == {
        one.query: one.result for one in QUESTIONS
    }


def test_questions_with_an_answer_are_told_apart_by_it(lab: ImagingDB) -> None:
    answers = [answer(lab, one.query) for one in QUESTIONS]
    assert answers.count("none") == 0
    everything = answer(lab, "objects >= 0")
    assert everything not in answers


def test_every_field_is_on_the_page() -> None:
    shown = [(cells[0], cells[1], cells[2]) for _, cells in rows_below("Fields")]
    assert shown[: len(FIELDS)] == [
        (one.name, one.level.value, one.what.strip("`")) for one in FIELDS
    ]
    assert [name.partition(".")[0] for name, _, _ in shown[len(FIELDS) :]] == [
        "note",
        *(root for root in ROOTS if root != "note"),
    ]
    text = PAGE.read_text(encoding="utf-8")
    for one in FIELDS:
        for alias in one.aliases:
            assert f"`{alias}` for `{one.name}`" in text
