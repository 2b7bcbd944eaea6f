"""imaging_db: an imaging database that keeps every frame complete and byte-exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB

__version__ = "0.1.0"
__all__ = ["ImagingDB", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first asked for, so that the command lines start fast."""
    if name == "ImagingDB":
        from imaging_db.api import ImagingDB

        return ImagingDB
    raise AttributeError(f"module 'imaging_db' has no attribute {name!r}")
