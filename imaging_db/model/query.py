"""A question about datasets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from imaging_db.model.dataset import UploadType
from imaging_db.model.expression import Expression


@dataclass(frozen=True, slots=True)
class DatasetQuery:
    """What is asked of the catalog; every field that is not None narrows the answer.

    ``project``, ``microscope``, ``description`` match as substrings without regard to case, as
    imagingDB's did (``%`` and ``_`` are ordinary characters). ``start_date`` and ``end_date`` are
    inclusive days of acquisition, in UTC. ``text`` is looked for in serial, description, microscope,
    channel names, global metadata, tags and notes. ``parent`` is a whole serial, ``format`` a reader's name.
    ``where`` finds datasets with a frame that fits, and those of files that fit themselves.
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
    where: Expression | None = None
