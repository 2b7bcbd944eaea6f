"""The OME-XML schema 2016-06, as the package ome-types ships it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import ome_types
import xmlschema


@cache
def _schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(str(Path(ome_types.__file__).with_name("ome-2016-06.xsd")))


def problems(xml: str) -> list[str]:
    """All that the schema finds wrong in a document."""
    return [f"{error.path}: {error.reason}" for error in _schema().iter_errors(xml)]
