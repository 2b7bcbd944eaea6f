"""The table of exit codes, one for all commands; a test compares it with the errors."""

from __future__ import annotations

OK = 0
BUG = 1

TABLE: dict[int, str] = {
    0: "done, all of it",
    1: "a bug in imaging_db; please report the traceback",
    2: "usage, config, login or CSV is wrong, or there is no such dataset: nothing was started",
    3: "some rows failed and the others are done, or all failed for different reasons",
    4: "the input was refused: unreadable, unsupported or incomplete",
    5: "temporary: store or database unreachable or full; rerun later",
    6: "integrity: an object is missing or differs from its record",
    7: "conflict: exists already with other content",
    8: "locked by another live run",
    130: "interrupted (Ctrl-C); rerun to continue",
    143: "terminated (SIGTERM); rerun to continue",
}


def epilog(examples: str = "") -> str:
    """Return what stands below the options in a command's help: examples and the table."""
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in TABLE.items())
    shown = f"examples:\n{examples}\n\n" if examples else ""
    return f"{shown}exit codes (any other means failure, too):\n{codes}"
