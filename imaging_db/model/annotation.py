"""What people say of a dataset: tags, which are keys alone, and notes, which have a value."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime

from imaging_db.errors import UsageError

LONGEST_KEY = 100
LONGEST_VALUE = 10_000
_BREAKS = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, separators of lines


@dataclass(frozen=True, slots=True)
class Annotation:
    """A tag (``value`` None) or a note of a dataset; ``removed_at`` is set where it is history.

    A note that was changed is one that was removed, followed by another with the same key.
    """

    serial: str
    key: str
    value: str | None
    author: str
    created_at: datetime
    removed_by: str | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AnnotationEdit:
    """What somebody wants: that a dataset has a tag or a note, or with ``removes`` that it has none.

    ``author`` and ``created_at`` are who said it first and when, as another catalog tells. They count only
    where the catalog knows nothing of that key.

    Raises
    ------
    UsageError
        A key, a value or a name that cannot be kept.
    """

    serial: str
    key: str
    value: str | None = None
    removes: bool = False
    author: str | None = None
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        """Check what is to be kept."""
        problems = (key_problem(self.key), value_problem(self.value), author_problem(self.author))
        for problem in filter(None, problems):
            raise UsageError(problem)


@dataclass(frozen=True, slots=True)
class AnnotationChange:
    """What an edit came to: the annotation ``before``, and ``after`` it."""

    serial: str
    key: str
    before: Annotation | None
    after: Annotation | None

    @property
    def outcome(self) -> str:
        """Return ``added``, ``changed``, ``removed`` or ``unchanged``."""
        if self.before == self.after:
            return "unchanged"
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "changed"


def key_problem(key: object) -> str | None:
    """Return why ``key`` cannot be one, None where it can."""
    if isinstance(key, str) and "=" in key:
        return f"key {key!r} holds '=', which separates a key from its value"
    return _name_problem("key", key)


def value_problem(value: object) -> str | None:
    """Return why ``value`` cannot be kept, None where it can."""
    if value is None:
        return None
    if not isinstance(value, str):
        return f"value {value!r} is not a text"
    if len(value) > LONGEST_VALUE:
        return f"value has {len(value)} characters, {LONGEST_VALUE} are the most"
    for character in value:
        if character == "\x00" or unicodedata.category(character) == "Cs":
            return f"value holds the character {character!r}, which no database keeps"
    return None


def author_problem(author: object) -> str | None:
    """Return why ``author`` cannot be a name, None where it can."""
    return None if author is None else _name_problem("author", author)


def _name_problem(what: str, text: object) -> str | None:
    if not isinstance(text, str):
        return f"{what} {text!r} is not a text"
    if not text.strip():
        return f"{what} is empty"
    if len(text) > LONGEST_KEY:
        return f"{what} has {len(text)} characters, {LONGEST_KEY} are the most"
    if text != text.strip():
        return f"{what} {text!r} begins or ends with a blank"
    if any(unicodedata.category(character) in _BREAKS for character in text):
        return f"{what} {text!r} holds a line break or another control character"
    return None
