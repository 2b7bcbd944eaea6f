"""Files: what is uploaded as it is, not split into frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from imaging_db.model.json_value import JSONObject


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to be stored as it is: where it lies, and its name inside the dataset.

    ``name`` is a relative path with ``/`` between its parts; for a single file, the base name.
    """

    path: Path
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file as the catalog keeps it; ``sha256`` is of its bytes, None in rows of the original.

    ``size`` is in bytes, None in rows of the original.
    """

    name: str
    sha256: str | None
    size: int | None
    metadata: JSONObject = field(default_factory=dict)
