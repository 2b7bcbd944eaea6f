"""Failpoints: named, counted, and nothing at all unless they are armed."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imaging_db
from imaging_db import failpoints
from imaging_db.errors import UsageError


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def reached_in_the_code() -> set[str]:
    """The stages that some line of the package reaches."""
    found = set()
    for file in Path(imaging_db.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.reach":
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_stage_is_reached_somewhere_and_has_a_meaning() -> None:
    assert reached_in_the_code() == set(failpoints.STAGES)


def test_nothing_happens_unless_a_stage_is_armed() -> None:
    failpoints.arm("")
    for stage in failpoints.STAGES:
        failpoints.reach(stage)


def test_the_third_arrival_is_the_third_and_only_that() -> None:
    failpoints.arm("frame.read:3:raise")
    for _ in range(2):
        failpoints.reach("frame.read")
        failpoints.reach("object.named")
    with pytest.raises(RuntimeError, match=r"frame\.read"):
        failpoints.reach("frame.read")
    failpoints.reach("frame.read")


def test_a_lasting_fault_stays_from_its_first_arrival_on() -> None:
    failpoints.arm("frame.read:2+:raise, object.named:stall=0")
    failpoints.reach("frame.read")
    failpoints.reach("object.named")
    for _ in range(3):
        with pytest.raises(RuntimeError):
            failpoints.reach("frame.read")


def test_a_kill_leaves_the_process_no_time() -> None:
    program = (
        "from imaging_db import failpoints; failpoints.arm(); failpoints.reach('frame.read');"
        "print('still here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={failpoints.VARIABLE: "frame.read:kill", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == ""


@pytest.mark.parametrize(
    "text", ["nowhere:kill", "frame.read", "frame.read:0:kill", "frame.read:x:kill",
             "frame.read:explode", "frame.read:stall=soon", "frame.read:1:2:kill"],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_and_says_how_to_write_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        failpoints.arm(text)
    assert failpoints.VARIABLE in str(refused.value)
    assert refused.value.hint
