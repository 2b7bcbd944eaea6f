"""Text of a query -> its tree: one pass, from left to right; every error tells the character."""

from __future__ import annotations

from imaging_db.errors import UsageError
from imaging_db.model.expression import (
    Comparison,
    Expression,
    Mention,
    Missing,
    Not,
    Value,
    all_of,
    any_of,
)
from imaging_db.model.expression_tokens import Sort, Token, path_of, refusal, tokens_of
from imaging_db.model.expression_values import OPERATORS, Unfit, value_of
from imaging_db.model.fields import ROOTS, Field, Kind, field_named, nearest
from imaging_db.model.selection import IndexRange

DEEPEST = 50
MOST_CONDITIONS = 400
_COMPARES = ("=", "!=", "<", "<=", ">", ">=", "~")
_KEYWORDS = ("and", "or", "not", "in", "is", "null")


def parse_expression(source: str, *, option: str = "where") -> Expression:
    """Return what a query asks; see docs/queries.md for the language.

    ``option`` begins every error: the name of what the text was given as.

    Raises
    ------
    UsageError
        The query cannot be read; tells the character, and what would do.
    """
    return _Parser(source, option).whole()


def parse_field(source: str, *, option: str = "column") -> Field:
    """Return the field that a text names, such as ``z`` or ``meta.Exposure-ms``; raises as `parse_expression`."""
    parser = _Parser(source, option)
    token = parser.take()
    if token.sort is not Sort.WORD or parser.peek().sort is not Sort.END:
        raise parser.refusal(token, "this is no name of a field")
    return parser.field(token)


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, source: str, option: str) -> None:
        self.source = source
        self.option = option
        self.tokens = tokens_of(source, option=option)
        self.place = 0
        self.depth = 0
        self.count = 0

    def whole(self) -> Expression:
        if self.peek().sort is Sort.END:
            raise self.refusal(
                self.peek(), "the query is empty", hint="such as channel = GFP and z = mid"
            )
        found = self.disjunction()
        if self.peek().is_sign(")"):
            raise self.refusal(self.peek(), "nothing was opened that this closes")
        if self.peek().sort is not Sort.END:
            raise self.refusal(self.peek(), "and or or is missing")
        return found

    # --- tokens

    def peek(self, steps: int = 0) -> Token:
        return self.tokens[min(self.place + steps, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.peek()
        self.place = min(self.place + 1, len(self.tokens) - 1)
        return token

    def refusal(self, token: Token, cause: str, *, hint: str = "") -> UsageError:
        return refusal(self.source, token.start, cause, option=self.option, hint=hint)

    # --- and, or, not, parentheses

    def disjunction(self) -> Expression:
        parts = [self.conjunction()]
        while self.peek().is_word("or"):
            self.take()
            parts.append(self.conjunction())
        return any_of(parts)

    def conjunction(self) -> Expression:
        parts = [self.negation()]
        while self.peek().is_word("and"):
            self.take()
            parts.append(self.negation())
        return all_of(parts)

    def negation(self) -> Expression:
        if not self.peek().is_word("not"):
            return self.primary()
        self.deeper()
        self.take()
        found = Not(self.negation())
        self.depth -= 1
        return found

    def primary(self) -> Expression:
        if not self.peek().is_sign("("):
            return self.condition()
        self.deeper()
        opened = self.take()
        found = self.disjunction()
        if not self.peek().is_sign(")"):
            if self.peek().sort is Sort.END:
                raise self.refusal(opened, "this parenthesis is never closed")
            raise self.refusal(self.peek(), "and, or or ) is missing")
        self.take()
        self.depth -= 1
        return found

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.refusal(
                self.peek(), f"parentheses and nots are nested deeper than {DEEPEST} levels"
            )

    # --- conditions

    def condition(self) -> Expression:
        token = self.peek()
        if token.sort is Sort.SIGN or token.sort is Sort.END or token.is_word(*_KEYWORDS):
            raise self.refusal(token, "a condition is missing", hint="such as channel = GFP")
        self.counted()
        if self.is_compared():
            if token.sort is Sort.QUOTED:
                raise self.refusal(token, "a field stands without quotes")
            return self.compared(self.field(self.take()))
        return self.bare()

    def counted(self, number: int = 1) -> None:
        self.count += number
        if self.count > MOST_CONDITIONS:
            raise self.refusal(
                self.peek(), f"more than {MOST_CONDITIONS} conditions", hint="ask in parts"
            )

    def is_compared(self) -> bool:
        """Return True where what follows makes this the name of a field."""
        sign = self.peek(1)
        if sign.is_sign(*_COMPARES):
            return True
        if sign.is_word("is"):
            return self.peek(2).is_word("null", "not")
        skip = 2 if sign.is_word("not") else 1
        return self.peek(skip).is_word("in") and self.peek(skip + 1).is_sign("(")

    def bare(self) -> Expression:
        """Return what a flag, or words without a sign, mean: the dataset mentions all of them."""
        known = field_named(self.peek().text) if self.peek().sort is Sort.WORD else None
        if known is not None and known.kind is Kind.FLAG:
            self.take()
            return Comparison(known, "=", (True,))
        found: list[Expression] = [Mention(self.take().text)]
        while self.peek().sort in (Sort.WORD, Sort.QUOTED) and not self.peek().is_word(*_KEYWORDS):
            if self.is_compared():
                raise self.refusal(self.peek(), "and or or is missing")
            self.counted()
            found.append(Mention(self.take().text))
        return all_of(found)

    def field(self, token: Token) -> Field:
        root, dot, _ = token.text.partition(".")
        if dot and root.lower() in ROOTS:
            return self.path(ROOTS[root.lower()], token)
        known = field_named(token.text)
        if known is not None:
            return known
        near = nearest(token.text)
        hint = f"did you mean {' or '.join(near)}?" if near else "metadata is meta.<name>"
        raise self.refusal(token, f"unknown field {token.text[:100]!r}", hint=hint)

    def path(self, root: Field, token: Token) -> Field:
        path = path_of(self.source, token, option=self.option)
        if root.kind is Kind.NOTE:  # a key may have dots
            path = (".".join(map(str, path)),)
        return Field(root.name, root.kind, root.level, root.what, path=path)

    def compared(self, field: Field) -> Expression:
        sign = self.take()
        if sign.is_word("is"):
            return self.missing(field)
        if sign.sort is Sort.SIGN:
            return self.checked(field, sign, self.values(field, sign.text))
        operator = "!=" if sign.is_word("not") else "="
        if sign.is_word("not"):
            self.take()
        self.take()  # the parenthesis
        values = self.values(field, operator)
        if not self.peek().is_sign(")"):
            raise self.refusal(self.peek(), ", or ) is missing")
        self.take()
        return self.checked(field, Token(Sort.SIGN, operator, sign.start), values)

    def missing(self, field: Field) -> Expression:
        negative = self.peek().is_word("not")
        if negative:
            self.take()
        if not self.peek().is_word("null"):
            raise self.refusal(self.peek(), "null is missing")
        self.take()
        return Not(Missing(field)) if negative else Missing(field)

    def values(self, field: Field, operator: str) -> tuple[Value, ...]:
        if operator not in OPERATORS[field.kind]:
            raise self.refusal(
                self.tokens[self.place - 1],
                f"{operator} does not fit {field}",
                hint=f"write one of {' '.join(OPERATORS[field.kind])}",
            )
        found = [self.value(field, operator, more=False)]
        while self.peek().is_sign(","):
            if operator not in ("=", "!="):
                raise self.refusal(self.peek(), f"{operator} takes one value, not a list")
            self.take()
            found.append(self.value(field, operator, more=True))
        return tuple(found)

    def value(self, field: Field, operator: str, *, more: bool) -> Value:
        token = self.peek()
        if token.sort not in (Sort.WORD, Sort.QUOTED):
            raise self.refusal(token, f"a value for {field} is missing")
        if token.is_word("null"):
            raise self.refusal(token, "null is no value", hint=f"write {field} is null")
        try:
            found = value_of(field, operator, token)
        except Unfit as error:
            raise self.refusal(token, str(error)) from None
        if more and not _is_listed(field, found):
            self.counted()  # it becomes a condition of its own
        self.take()
        return found

    def checked(self, field: Field, sign: Token, values: tuple[Value, ...]) -> Expression:
        """Let pass what can be true: no value of metadata differs from a number and from a text."""
        if field.kind is Kind.JSON and sign.text == "!=" and len(set(map(_sort, values))) > 1:
            raise self.refusal(
                sign, "!= mixes numbers, texts and truth", hint="compare them one by one"
            )
        return Comparison(field, sign.text, values)


def _is_listed(field: Field, value: Value) -> bool:
    """Return True for a value that the database takes in one list with the others."""
    if isinstance(value, IndexRange):
        return value.stop == value.start + 1
    return isinstance(value, str) and field.kind is not Kind.JSON


def _sort(value: Value) -> str:
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, (int, float)) else "text"
