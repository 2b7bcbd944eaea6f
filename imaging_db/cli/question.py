"""Asking the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from imaging_db.cli import output


def can_ask() -> bool:
    """Return True where a person can read a question and answer it."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)


def agreed(lines: Sequence[str]) -> bool:
    """Show lines, of which the last is a question, and return True where the answer is yes."""
    text = "\n".join(map(output.printable, lines))
    sys.stderr.write(f"{text} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):  # Ctrl-D
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")
