"""Options of a cluster as the user wrote them: words that Dask wants as numbers, lists or truth values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from imaging_db.errors import UsageError


def parsed(options: Mapping[str, str], makers: tuple[Callable[..., Any], ...]) -> dict[str, Any]:
    """Return options with their values read as JSON, or as text where that is none.

    ``makers`` are the classes that take them. ``nanny-port=0`` is ``nanny_port=0``, as in Dask's own files.

    Raises
    ------
    UsageError
        None of the classes has such an option.
    """
    known = {name for maker in makers for name in named(maker)}
    found = {name.replace("-", "_"): _value(text) for name, text in options.items()}
    for name in found:
        if name not in known:
            raise UsageError(
                f"--engine_option {name}: {makers[0].__name__} has no such option",
                hint=f"see the documentation of {makers[0].__module__.partition('.')[0]}",
            )
    return found


def named(maker: Callable[..., Any]) -> set[str]:
    """Return the options that a class takes by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        one.name for one in inspect.signature(maker).parameters.values() if one.kind in kinds
    } - {"self"}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
