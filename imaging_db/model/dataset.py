"""Datasets: the id, the state, what is asked for and what the catalog keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from imaging_db.errors import InvalidDatasetId
from imaging_db.model.acquisition import Acquisition
from imaging_db.model.json_value import JSONObject

_FORM = "<ID>-YYYY-MM-DD-HH-MM-SS-<SSSS>"
_PATTERN = re.compile(
    r"(?P<project>[A-Za-z0-9_]{1,64})-"
    r"(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{2})-(?P<number>[0-9]{4})"
)


class UploadType(str, Enum):
    """Whether a source is split into frames or stored as it is."""

    FRAMES = "frames"
    FILE = "file"


class DatasetStatus(str, Enum):
    """``pending``: being uploaded, unseen. ``ready``: complete. ``deleting``: going, unseen."""

    PENDING = "pending"
    READY = "ready"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, order=True)
class DatasetId:
    """A serial such as ``ISP-2018-06-08-15-45-00-0001``, split into its parts.

    ``project`` is the leading ID (letters, digits, underscore), ``acquired_at`` the time in the serial,
    read as UTC, ``number`` its last four digits.
    """

    project: str
    acquired_at: datetime
    number: int

    @classmethod
    def parse(cls, text: str) -> DatasetId:
        """Return the id that ``text`` spells.

        Raises
        ------
        InvalidDatasetId
            Another form, a forbidden character, or a time that no calendar has.
        """
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise InvalidDatasetId(
                f"{text!r} is not of the form {_FORM}",
                hint="ID is letters, digits and underscores, without a dash",
            )
        try:
            time = datetime.strptime(found["time"], "%Y-%m-%d-%H-%M-%S")
        except ValueError as error:
            raise InvalidDatasetId(f"{text!r} holds a time that does not exist") from error
        return cls(found["project"], time.replace(tzinfo=UTC), int(found["number"]))

    def __str__(self) -> str:
        time = self.acquired_at
        return f"{self.project}-{time.year:04d}-{time:%m-%d-%H-%M-%S}-{self.number:04d}"


@dataclass(frozen=True, slots=True)
class DatasetDraft:
    """A dataset that is about to be uploaded: everything that is known before its bytes move.

    ``fingerprint`` is a hex SHA-256 that says whether the source is the one of an earlier run.
    ``storage`` and ``storage_access`` name the store, ``storage_dir`` the prefix inside it.
    ``acquisition`` is None for an upload as files. ``nbr_objects`` is how many objects make it complete.
    ``codec`` names the codec asked for, None for the default.
    """

    serial: str
    acquired_at: datetime
    upload_type: UploadType
    description: str | None
    microscope: str | None
    parent_serial: str | None
    fingerprint: str
    storage: str
    storage_access: str
    storage_dir: str
    nbr_objects: int
    acquisition: Acquisition | None = None
    metadata: JSONObject = field(default_factory=dict)
    codec: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset as the catalog keeps it; times are aware, in UTC.

    ``storage``, ``storage_access``, ``fingerprint`` and the created and published times are None for
    datasets that the original imagingDB wrote. ``nbr_objects`` counts frames or files.
    """

    serial: str
    status: DatasetStatus
    upload_type: UploadType
    description: str | None
    microscope: str | None
    acquired_at: datetime | None
    parent_serial: str | None
    storage: str | None
    storage_access: str | None
    storage_dir: str
    fingerprint: str | None
    nbr_objects: int
    created_at: datetime | None
    published_at: datetime | None
    codec: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one pending dataset, held by one run.

    ``token`` is unique to this claim and fences every write. ``resumed`` says that an earlier run left
    rows of the same source behind; they count. ``cleared`` says that an earlier run left no row that
    counts; objects of it, perhaps of another source, may still lie in the store.
    """

    dataset_id: int
    serial: str
    token: str
    resumed: bool
    cleared: bool = False
