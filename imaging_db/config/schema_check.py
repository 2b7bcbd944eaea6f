"""Plain JSON Schemas as one Python function: it says yes at once where a document surely fits.

Only types, required keys and properties are known here, as the JSON Schema specification (draft 4 to
2020-12) means them; what a function does not say yes to is for a full validator to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

SurelyFits: TypeAlias = "Callable[[Any], bool]"

_REMARKS = {"title", "description", "$comment", "default", "examples"}
_KNOWN = {"type", "required", "properties"} | _REMARKS
# Exact types: a Boolean is no number here as in JSON, though it is an int in Python. A float such as 1.0,
# which JSON Schema calls an integer, is left to the full validator.
_TYPES: Mapping[str, frozenset[type]] = {
    "object": frozenset({dict}),
    "array": frozenset({list}),
    "string": frozenset({str}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
}


def compile_schema(schema: object) -> SurelyFits | None:
    """Return what says True only for documents that fit, None for a schema with other keywords."""
    if schema is True:
        return lambda _: True
    if not isinstance(schema, dict) or not schema.keys() <= _KNOWN:
        return None
    kinds = _kinds(schema.get("type"))
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    if kinds is None or not isinstance(required, list) or not isinstance(properties, dict):
        return None
    inner = [(name, compile_schema(part)) for name, part in properties.items()]
    checks = [(name, check) for name, check in inner if check is not None]
    return None if len(checks) < len(inner) else _check(kinds, frozenset(required), checks)


def _kinds(wanted: object) -> frozenset[type] | None:
    """Return the Python types that a ``type`` names, None where it names one that is not known."""
    if wanted is None:
        return frozenset().union(*_TYPES.values())
    names = [str(name) for name in wanted] if isinstance(wanted, list) else [str(wanted)]
    if not set(names) <= _TYPES.keys():
        return None
    return frozenset().union(*(_TYPES[name] for name in names))


def _check(
    kinds: frozenset[type], required: frozenset[str], checks: list[tuple[str, SurelyFits]]
) -> SurelyFits:
    def fits(document: Any) -> bool:
        kind = type(document)
        if kind not in kinds:
            return False
        if kind is not dict:  # keys are asked of objects only
            return True
        for name in required:
            if name not in document:
                return False
        return all(check(document[name]) for name, check in checks if name in document)

    return fits
