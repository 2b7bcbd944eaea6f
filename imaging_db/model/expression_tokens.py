"""Words, quoted texts and signs of a query, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from imaging_db.errors import UsageError
from imaging_db.model.json_value import clean_json

LONGEST = 50_000
MOST_PARTS = 50
_SHOWN = 20
_SIGNS = ("!=", "<=", ">=", "=", "<", ">", "~", ",", "(", ")")
_NOT_IN_WORDS = re.compile(r"[\s=!<>~,()\"'\x00-\x1f\x7f]")
_ROOT = re.compile(r"(meta|global|dataset|note)\.", re.IGNORECASE)
_INDEX = re.compile(r"\[(\d{1,9})\]")
_KEY = re.compile(r"[^.\[]+")
_ESCAPABLE = "\"'\\*?"
_NAMES = {"==": "=", "<>": "!=", "&&": "and", "||": "or"}


class Sort(Enum):
    """What a token is."""

    WORD = "word"
    QUOTED = "quoted text"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a query; ``start`` counts characters from 0.

    ``text`` is what it says without quotes and escapes; ``glob`` the same as a pattern, where it has
    wildcards.
    """

    sort: Sort
    text: str
    start: int
    glob: str | None = None

    def is_word(self, *words: str) -> bool:
        """Return True for one of these keywords, in any case, without quotes."""
        return self.sort is Sort.WORD and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Return True for one of these signs."""
        return self.sort is Sort.SIGN and self.text in signs


def refusal(source: str, start: int, cause: str, *, option: str, hint: str = "") -> UsageError:
    """Return the error that ``cause`` is wrong with a query, at a place in it."""
    rest = source[start:].split("\n", 1)[0]
    shown = rest if len(rest) <= _SHOWN else f"{rest[:_SHOWN]}..."
    where = f"at character {start + 1}: '>>{shown}'" if rest else "at its end"
    return UsageError(f"{option}: {cause} {where}", hint=hint)


def tokens_of(source: str, *, option: str) -> list[Token]:
    """Return the tokens of a query, the last one its end.

    Raises
    ------
    UsageError
        A quote that does not end, a sign that means nothing, or more than `LONGEST` characters.
    """
    if len(source) > LONGEST:
        raise UsageError(
            f"{option}: {len(source)} characters are more than a query may have ({LONGEST})",
            hint="ask in several parts",
        )
    return _Reader(source, option).tokens()


def path_of(source: str, token: Token, *, option: str) -> tuple[str | int, ...]:
    """Return the parts of a path behind its root: texts are keys, numbers places in a list.

    Raises
    ------
    UsageError
        The word is no such path, or one of more than `MOST_PARTS` parts.
    """
    return _Reader(source, option).path(token)


class _Reader:
    """Reads a query once, from left to right."""

    def __init__(self, source: str, option: str) -> None:
        self.source = source
        self.option = option
        self.place = 0

    def tokens(self) -> list[Token]:
        found = []
        while self._skip_blank():
            found.append(self._token())
        found.append(Token(Sort.END, "", len(self.source)))
        return found

    def _skip_blank(self) -> bool:
        while self.place < len(self.source) and self.source[self.place].isspace():
            self.place += 1
        return self.place < len(self.source)

    def _token(self) -> Token:
        start = self.place
        pair = self.source[start : start + 2]
        if pair in _NAMES:
            raise self._refusal(start, f"{pair} is written {_NAMES[pair]}")
        for sign in _SIGNS:
            if self.source.startswith(sign, start):
                self.place += len(sign)
                return Token(Sort.SIGN, sign, start)
        if self.source[start] in "\"'":
            text, glob = self._quoted()
            return Token(Sort.QUOTED, text, start, glob)
        return self._word()

    def _quoted(self) -> tuple[str, str | None]:
        """Return what stands between quotes, and as a pattern where it has wildcards."""
        start, quote = self.place, self.source[self.place]
        text, pattern, wild = list[str](), list[str](), False
        self.place += 1
        while self.place < len(self.source):
            char = self.source[self.place]
            if char == quote:
                self.place += 1
                return "".join(text), "".join(pattern) if wild else None
            after = self.source[self.place + 1 : self.place + 2]
            escaped = char == "\\" and after != "" and after in _ESCAPABLE
            self.place += 2 if escaped else 1
            char = after if escaped else char
            wild = wild or (char in "*?" and not escaped)
            text.append(char)
            pattern.append(char if not escaped and char in "*?" else _literal(char))
        raise self._refusal(start, "this quote does not end")

    def _word(self) -> Token:
        start = self.place
        while self.place < len(self.source):
            found = _NOT_IN_WORDS.search(self.source, self.place)
            self.place = found.start() if found else len(self.source)
            if not self._goes_on(self.source[start : self.place]):
                break
            self._quoted()
        text = self.source[start : self.place]
        if not text:
            raise self._refusal(start, f"{self.source[start]!r} means nothing")
        wild = any(char in "*?" for char in text)
        glob = "".join(c if c in "*?" else _literal(c) for c in text) if wild else None
        return Token(Sort.WORD, text, start, glob)

    def _goes_on(self, before: str) -> bool:
        """Return True where a quote goes on a path, as in ``meta."Camera-1 Gain"``."""
        quote = self.source[self.place : self.place + 1]
        return quote in ('"', "'") and before.endswith(".") and bool(_ROOT.match(before))

    def path(self, token: Token) -> tuple[str | int, ...]:
        """Return the parts behind the root: keys between dots, quoted or not, and indices in brackets."""
        self.place = token.start + token.text.index(".")
        end, parts = token.start + len(token.text), list[str | int]()
        while self.place < end:
            if len(parts) == MOST_PARTS:
                raise self._refusal(self.place, f"a path has more than {MOST_PARTS} parts")
            parts.append(self._part(end))
        return tuple(_kept(part) for part in parts)

    def _part(self, end: int) -> str | int:
        start = self.place
        index = _INDEX.match(self.source, start, end)
        if index:
            self.place = index.end()
            return int(index[1])
        if self.source[start] == "." and start + 1 < end:
            self.place += 1
            if self.source[self.place] in "\"'":
                return self._quoted()[0]
            found = _KEY.match(self.source, self.place, end)
            if found:
                self.place = found.end()
                return found[0]
        raise self._refusal(start, "this is no path such as meta.Exposure-ms or meta.ROI[0]")

    def _refusal(self, start: int, cause: str) -> UsageError:
        return refusal(self.source, start, cause, option=self.option)


def _kept(part: str | int) -> str | int:
    """Return a key as metadata keep it, without what no database takes."""
    return str(clean_json(part)) if isinstance(part, str) else part


def _literal(char: str) -> str:
    return "\\" + char if char in "\\*?" else char
