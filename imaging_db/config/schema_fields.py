"""The fields that a JSON Schema asks for, and a document that has them."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, dataclass, fields
from typing import Any

from imaging_db.config.schema_nodes import LARGEST, Node, Schema, SchemaNodes, values_of

_DEEPEST = 40
_NEEDED, _OPTIONAL = "yes", "no"
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters at most",
    "pattern": "matches {}",
    "format": "format {}",
    "minItems": "{} items or more",
    "maxItems": "{} items at most",
    "uniqueItems": "no item twice",
    "minProperties": "{} fields or more",
    "maxProperties": "{} fields at most",
}
_FORMATS = {
    "date-time": "2024-03-01T14:30:00+00:00",
    "date": "2024-03-01",
    "time": "14:30:00+00:00",
    "email": "ada@example.org",
    "uri": "https://example.org",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class SchemaField:
    """One field: where it is, whether it is needed, what it may hold; texts for people.

    ``needed`` is ``yes``, ``no``, or ``with x`` for a field that ``x`` needs, which is not needed itself.
    ``remark`` is what the schema says beside and cannot be shown.
    """

    field: str
    needed: str
    type: str
    unit: str
    allowed: str
    default: str
    example: str
    description: str
    remark: str


FIELD_COLUMNS = tuple(one.name for one in fields(SchemaField))


class SchemaFields:
    """The fields of a schema, those that are needed first, and a ``document`` that shows them.

    ``remarks`` are what is to say of the document as a whole.

    Raises
    ------
    ConfigError
        There are too many.
    """

    def __init__(self, schema: Schema, *, only_needed: bool = False) -> None:
        self._nodes = SchemaNodes(schema)
        self._only_needed = only_needed
        self._found: list[SchemaField] = []
        node = self._nodes.node(schema)
        self.remarks = _remarks(node)
        found = self._object(node, "", _NEEDED, 0)
        self.document: dict[str, Any] = found if isinstance(found, dict) else {}
        ranks = {_NEEDED: 0, _OPTIONAL: 2}
        self.fields = sorted(self._found, key=lambda one: ranks.get(one.needed, 1))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the fields as rows of `FIELD_COLUMNS`."""
        return [astuple(one) for one in self.fields]

    def _visit(
        self, schema: object, path: str, needed: str, refs: tuple[str, ...], depth: int
    ) -> Any:
        """Note a field and what is below it; return a value that shows it."""
        node = self._nodes.node(schema, refs)
        place = len(self._found)
        self._found.append(_field(node, path, needed))
        if depth == _DEEPEST:
            node.remarks.append("what is nested deeper is not shown")
        value = (
            _ABSENT if depth == _DEEPEST or node.repeats else self._value(node, path, needed, depth)
        )
        self._found[place] = _field(node, path, needed, value)
        return value

    def _value(self, node: Node, path: str, needed: str, depth: int) -> Any:
        kind = next((name for name in node.types if name != "null"), None)
        inner: Any = None
        if kind == "object":
            inner = self._object(node, path, needed, depth)
        elif kind == "array":
            inner = self._array(node, path, needed, depth)
        given = _given(node)
        if given is not _ABSENT:
            return given
        return inner if kind in ("object", "array") else _made(kind or "null", node)

    def _object(self, node: Node, path: str, needed: str, depth: int) -> dict[str, Any]:
        required = node.required
        names = [*required, *(name for name in node.properties if name not in required)]
        shown = {}
        for name in names:
            if self._only_needed and name not in required:
                continue
            below = _below(needed, path) if name in required else _OPTIONAL
            schema = node.properties.get(name, True)
            value = self._visit(schema, _joined(path, name), below, node.refs, depth + 1)
            if value is not _ABSENT:
                shown[name] = value
        return shown

    def _array(self, node: Node, path: str, needed: str, depth: int) -> list[Any]:
        items, first = node.says.get("items"), node.says.get("prefixItems")
        places = first if isinstance(first, list) else items if isinstance(items, list) else []
        below = _below(needed, path)
        shown = [
            self._visit(one, f"{path}[{number}]", below, node.refs, depth + 1)
            for number, one in enumerate(places)
        ]
        if isinstance(items, (dict, bool)) and items is not False:
            least = int(node.says.get("minItems", 0)) - len(shown)  # 2.0 is whole, too
            if "maxItems" not in node.says or node.says["maxItems"] > len(shown):
                value = self._visit(items, f"{path}[]", below, node.refs, depth + 1)
                shown += [value] * min(max(least, 1), LARGEST)
        return [value for value in shown if value is not _ABSENT]


def _field(node: Node, path: str, needed: str, value: Any = _ABSENT) -> SchemaField:
    says = node.says
    values = values_of(says)
    bounds = [_bound(key, says[key]) for key in _BOUNDS if says.get(key, False) is not False]
    allowed = [", ".join(map(_text, values))] if values else []
    plain = isinstance(value, (dict, list)) or value is _ABSENT
    return SchemaField(
        field=path,
        needed=needed,
        type=" or ".join(node.types) or "any",
        unit=str(says.get("unit") or says.get("units") or says.get("x-unit") or ""),
        allowed="; ".join([*allowed, *bounds]),
        default=_text(says["default"]) if "default" in says else "",
        example="" if plain else _text(value),
        description=str(says.get("description") or says.get("title") or ""),
        remark="; ".join(_remarks(node)),
    )


def _bound(key: str, value: Any) -> str:
    """Return a bound for people; draft 4 says with a Boolean that another is exclusive."""
    if value is True and key.startswith("exclusive"):
        return f"not {'the least' if key.endswith('Minimum') else 'the most'} itself"
    return _BOUNDS[key].format(value)


def _remarks(node: Node) -> list[str]:
    other = node.says.get("additionalProperties")
    more = ["no other fields"] if other is False else []
    if isinstance(other, dict):
        more = ["other fields must satisfy a schema, too"]
    return [*node.remarks, *more]


def _given(node: Node) -> Any:
    """Return a value that the schema names itself: the only one, the default, an example, the first."""
    says = node.says
    examples = says.get("examples")
    if "const" in says or "default" in says:
        return says.get("const", says.get("default"))
    if isinstance(examples, list) and examples:
        return examples[0]
    return next(iter(values_of(says)), _ABSENT)


def _made(kind: str, node: Node) -> Any:
    """Return a value of a type within its bounds; a pattern is not followed."""
    says = node.says
    if kind == "string":
        shown = _FORMATS.get(str(says.get("format")), "")
        return shown or "x" * min(int(says.get("minLength", 0)), LARGEST)
    if kind in ("integer", "number"):
        return _number(says, whole=kind == "integer")
    return False if kind == "boolean" else None


def _number(says: Schema, *, whole: bool) -> float:
    """Return a number within its bounds, 0 where that is; draft 4 has Booleans for exclusive bounds."""
    try:
        return _number_within(says, whole=whole)
    except OverflowError:  # a bound that no float holds
        return 0


def _number_within(says: Schema, *, whole: bool) -> float:
    words = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    edges = [says[word] for word in words if not isinstance(says.get(word, False), bool)]
    step = says.get("multipleOf", 1 if whole else 0)
    near = [
        0,
        *edges,
        *(edge + (step or 1) for edge in edges),
        *(edge - (step or 1) for edge in edges),
    ]
    near += [sum(edges) / len(edges)] if edges else []
    exact = [math.ceil(number / step) * step for number in near] if step else near
    return next((number for number in exact if _is_within(number, says)), 0)


def _is_within(number: float, says: Schema) -> bool:
    low, high = says.get("minimum", -math.inf), says.get("maximum", math.inf)
    above, below = says.get("exclusiveMinimum", -math.inf), says.get("exclusiveMaximum", math.inf)
    above = (low if above else -math.inf) if isinstance(above, bool) else above
    below = (high if below else math.inf) if isinstance(below, bool) else below
    return bool(low <= number <= high and above < number < below)


def _below(needed: str, path: str) -> str:
    """Return how much is needed what something at ``path`` needs."""
    return needed if needed != _OPTIONAL else f"with {path}"


def _joined(path: str, name: str) -> str:
    """Return the place of a property: ``a.b``, and ``a["b.c"]`` where its name holds a mark."""
    if not name or any(mark in name for mark in '.[]"'):
        return f"{path}[{json.dumps(name, ensure_ascii=False)}]"
    return f"{path}.{name}" if path else name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
