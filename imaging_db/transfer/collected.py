"""What a collection found and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from imaging_db.errors import ImagingDBError


class Kind(str, Enum):
    """Why something may go.

    ``upload``, ``deletion``: nobody goes on with it. ``leftover``: of a killed run, and no object. What
    another catalog may need: ``unknown``, a folder of no dataset of this one, and ``extra``, objects
    without a row in the folder of a dataset.
    """

    UPLOAD = "upload"
    DELETION = "deletion"
    UNKNOWN = "unknown"
    EXTRA = "extra"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True)
class Found:
    """Something that goes, would go in a dry run, or has to be confirmed first.

    ``where`` is a key, or a folder and then ends in a slash.
    """

    kind: Kind
    where: str
    objects: int
    nbr_bytes: int


@dataclass(frozen=True, slots=True)
class CollectReport:
    """One collection: how much went, or would go in a dry run.

    ``unconfirmed`` is what another catalog may know: what stays, or in a dry run what goes with
    ``unknown`` only. ``in_use`` is what others had taken when its turn came, a line each, and
    ``failures`` is what the store did not let go.
    """

    dry_run: bool
    objects: int
    nbr_bytes: int
    datasets: int
    unconfirmed: tuple[Found, ...] = ()
    in_use: tuple[str, ...] = ()
    failures: tuple[ImagingDBError, ...] = ()
