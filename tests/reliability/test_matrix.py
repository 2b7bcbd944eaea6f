"""No row of the fault matrix gets lost: each has a test, or a reason why it has none."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.matrix import ROWS, SECTIONS, read_rows

TESTS = Path(__file__).parents[1]


def marked() -> dict[str, list[str]]:
    """The rows that tests name, each with the files that name it."""
    found: dict[str, list[str]] = {}
    for file in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault":
                for argument in node.args:
                    found.setdefault(ast.literal_eval(argument), []).append(file.name)
    return found


def test_every_section_has_all_its_rows() -> None:
    names = list(read_rows())
    for letter in SECTIONS:
        own = [name for name in names if name[0] == letter]
        dash = "-" if letter == "I" else ""
        assert own == [f"{letter}{dash}{number}" for number in range(1, ROWS[letter] + 1)]


def test_every_row_has_a_test_or_says_why_not() -> None:
    shown = marked()
    for row in read_rows().values():
        assert (row.id in shown) != bool(row.not_here), row
        assert row.fault, row
        assert row.not_here or (row.how and row.expected), row


def test_every_mark_names_a_row() -> None:
    assert set(marked()) <= set(read_rows())
