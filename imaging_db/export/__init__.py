"""Exports: what other programs open, written from a dataset."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imaging_db.export.exporter import export
    from imaging_db.export.plan import ExportPlan
    from imaging_db.export.report import ExportOptions, ExportReport, Written

__all__ = ["ExportOptions", "ExportPlan", "ExportReport", "Written", "export"]

_WHERE = {"export": "exporter", "ExportPlan": "plan"}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for, so that the command lines start fast."""
    if name in __all__:
        return getattr(import_module(f"imaging_db.export.{_WHERE.get(name, 'report')}"), name)
    raise AttributeError(f"module 'imaging_db.export' has no attribute {name!r}")
