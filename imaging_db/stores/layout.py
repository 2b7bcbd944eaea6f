"""The one place that spells keys: ``raw_frames/<serial>/im_c000_z000_t000_p000.png``."""

from __future__ import annotations

import re

from imaging_db.model import FrameCoords, UploadType
from imaging_db.stores.base import check_key

SELFTEST_FOLDER = "imaging_db_selftest"
"""What the keys of a store's self-test begin with; nothing else is kept there."""

_FRAME_NAME = re.compile(r"im_c(\d{3,})_z(\d{3,})_t(\d{3,})_p(\d{3,})\.[a-z]+")
_TOP = {UploadType.FRAMES: "raw_frames", UploadType.FILE: "raw_files"}


def storage_dir(upload_type: UploadType, serial: str) -> str:
    """Return the prefix of a dataset's objects, such as ``raw_frames/ISP-2018-...-0001``."""
    return check_key(f"{_TOP[upload_type]}/{serial}")


def frame_name(coords: FrameCoords, suffix: str) -> str:
    """Return a frame's object name; each index has three digits, more where it needs them."""
    c, z, t, p = coords
    return f"im_c{c:03d}_z{z:03d}_t{t:03d}_p{p:03d}{suffix}"


def frame_coords(name: str) -> FrameCoords | None:
    """Return where the frame of an object name lies, None for a name that `frame_name` does not give."""
    found = _FRAME_NAME.fullmatch(name)
    return None if found is None else FrameCoords(*map(int, found.groups()))


def object_key(directory: str, name: str) -> str:
    """Return the key of an object ``name`` (which may hold ``/``) inside a dataset's prefix."""
    return check_key(f"{directory}/{name}")


def dataset_folders() -> tuple[str, ...]:
    """Return the folders in which the prefixes of datasets lie, sorted."""
    return tuple(sorted(_TOP.values()))


def own_folders() -> tuple[str, ...]:
    """Return every folder at the root of a store that this program writes to."""
    return (*dataset_folders(), SELFTEST_FOLDER)


def split_storage_dir(directory: str) -> tuple[UploadType, str] | None:
    """Return upload type and serial of a prefix that `storage_dir` could have made, None of any other."""
    top, _, serial = directory.partition("/")
    types = [upload_type for upload_type, name in _TOP.items() if name == top]
    return (types[0], serial) if types and serial and "/" not in serial else None
