"""One node of a JSON Schema with its references followed, and what could not be followed said.

Keywords as the JSON Schema specification (draft 4 to 2020-12) means them. Only references into the same
document are followed; none is fetched from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from imaging_db.errors import ConfigError

Schema: TypeAlias = "Mapping[str, Any]"

LARGEST = 10_000

_UNTOLD = (
    "if",
    "not",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "patternProperties",
    "propertyNames",
    "contains",
    "unevaluatedProperties",
    "unevaluatedItems",
    "additionalItems",
    "$dynamicRef",
    "$recursiveRef",
)
_MERGED = ("$ref", "allOf", "oneOf", "anyOf")


@dataclass
class Node:
    """What a schema says in one place; ``remarks`` are what it says beside and cannot be shown.

    ``refs`` are the references that led here. ``repeats`` is set where one of them leads here again.
    """

    says: dict[str, Any]
    refs: tuple[str, ...]
    remarks: list[str] = field(default_factory=list)
    repeats: bool = False

    @property
    def types(self) -> list[str]:
        """Return the JSON types that are allowed; those that follow from other keywords where none is named."""
        named = self.says.get("type")
        if named is not None:
            return [str(name) for name in named] if isinstance(named, list) else [str(named)]
        if "properties" in self.says:
            return ["object"]
        return ["array"] if "items" in self.says or "prefixItems" in self.says else []

    @property
    def properties(self) -> dict[str, Any]:
        """Return the schema of each property of an object."""
        found = self.says.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def required(self) -> list[str]:
        """Return the properties that an object needs."""
        found = self.says.get("required")  # draft 3 had a Boolean here
        return found if isinstance(found, list) else []


class SchemaNodes:
    """Nodes of one schema, `LARGEST` of them at most: references can multiply without end."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._followed = 0

    def node(self, schema: object, refs: tuple[str, ...] = ()) -> Node:
        """Return a node with ``$ref``, ``allOf``, ``oneOf`` and ``anyOf`` followed as far as they can be.

        Raises
        ------
        ConfigError
            There are too many.
        """
        self._followed += 1
        if self._followed > LARGEST:
            raise ConfigError(f"the JSON Schema has more than {LARGEST} parts")
        if not isinstance(schema, Mapping):
            return Node({}, refs, [] if schema is True else ["must not be there"])
        found = Node({key: schema[key] for key in schema if key not in _MERGED}, refs)
        if "$ref" in schema:
            self._follow(found, str(schema["$ref"]))
        path = found.refs
        for part in _schemas(schema.get("allOf")):
            self._merge(found, self.node(part, path))
        for word in ("oneOf", "anyOf"):
            self._choose(found, [self.node(one, path) for one in _schemas(schema.get(word))])
        untold = [word for word in _UNTOLD if word in found.says]
        if untold:
            found.remarks.append(f"more rules in the schema: {', '.join(untold)}")
            found.says = {key: found.says[key] for key in found.says if key not in _UNTOLD}
        return found

    def _follow(self, found: Node, ref: str) -> None:
        if ref in found.refs:
            found.repeats = True
            found.remarks.append(f"repeats {ref}: what is nested again is not shown")
            return
        target = self._target(ref)
        if target is None:
            found.remarks.append(f"refers to {ref}, which cannot be looked up here")
            return
        found.refs = (*found.refs, ref)
        self._merge(found, self.node(target, found.refs))

    def _target(self, ref: str) -> object | None:
        """Return what a JSON pointer of the same document leads to, None where it leads elsewhere."""
        if ref != "#" and not ref.startswith("#/"):
            return None
        place: Any = self._root
        for step in unquote(ref[2:]).split("/") if ref != "#" else ():
            key = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, Mapping) and key in place:
                place = place[key]
            elif isinstance(place, list) and key.isdecimal() and int(key) < len(place):
                place = place[int(key)]
            else:
                return None
        return place if isinstance(place, (Mapping, bool)) else None

    def _merge(self, found: Node, other: Node) -> None:
        """Add what another node says to one that must satisfy both."""
        for key, value in other.says.items():
            mine = found.says.get(key)
            if key == "properties" and isinstance(mine, dict) and isinstance(value, dict):
                both = {k: {"allOf": [mine[k], value[k]]} for k in mine.keys() & value.keys()}
                found.says[key] = {**mine, **value, **both}
            elif key == "required" and isinstance(mine, list) and isinstance(value, list):
                found.says[key] = list(dict.fromkeys([*mine, *value]))
            elif key not in found.says:
                found.says[key] = value
            elif mine != value and key not in ("title", "description", "$comment"):
                found.remarks.append(f"{key} is given more than once, the first is shown")
        found.refs = tuple(dict.fromkeys([*found.refs, *other.refs]))
        found.remarks += [one for one in other.remarks if one not in found.remarks]
        found.repeats |= other.repeats

    def _choose(self, found: Node, forms: Sequence[Node]) -> None:
        """Show the first of several forms and say so; forms that are values only are a list of values."""
        solid = [form for form in forms if form.types != ["null"]]
        if not solid:
            return
        if all("const" in form.says or "enum" in form.says for form in solid):
            values = [value for form in forms for value in values_of(form.says)]
            found.says.setdefault("enum", values)
            return
        first = solid[0]
        self._merge(found, first)
        if len(solid) < len(forms):
            found.says["type"] = [*found.types, "null"]
        if len(solid) > 1:
            titles = [str(form.says.get("title", "")) for form in solid]
            named = f": {', '.join(titles)}" if all(titles) else ""
            found.remarks.append(f"one of {len(solid)} forms{named}; the first is shown")


def values_of(says: Schema) -> list[Any]:
    """Return the values that a node allows, none where it does not list them."""
    if "const" in says:
        return [says["const"]]
    values = says.get("enum")
    if isinstance(values, list):
        return values
    return [None] if says.get("type") == "null" else []


def _schemas(value: object) -> Iterable[Any]:
    return value if isinstance(value, list) else []
