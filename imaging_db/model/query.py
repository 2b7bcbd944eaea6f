"""A question about datasets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from imaging_db.model.dataset import UploadType


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """What is asked of the catalog; every field that is not None narrows the answer.

    ``project``, ``microscope``, ``description`` match as substrings without regard to case, as
    imagingDB's did (``%`` and ``_`` are ordinary characters). ``start_date`` and ``end_date`` are
    inclusive days of acquisition, in UTC. ``text`` is looked for in serial, description, microscope,
    channel names and global metadata. ``parent`` is a whole serial, ``format`` a reader's name.
    """

    project: str | None = None
    microscope: str | None = None
    description: str | None = None
    start_date: date | None = None
    end_date: date | None = None
    parent: str | None = None
    format: str | None = None
    upload_type: UploadType | None = None
    text: str | None = None
