"""Which keys are safe, and how the keys of datasets are spelled."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imaging_db.errors import UnsafePath
from imaging_db.model import FrameCoords, UploadType
from imaging_db.stores.base import check_key, is_temporary, temporary_name
from imaging_db.stores.layout import frame_name, object_key, storage_dir

_text = st.text(st.characters() | st.sampled_from("/\\.:~ \x00"), max_size=40)


@given(_text)
@example("..")
@example("a/../../b")
@example("//server/share")
@example("C:\\a")
def test_a_safe_key_stays_below_any_root(text: str) -> None:
    try:
        key = check_key(text)
    except UnsafePath:
        return
    assert key == text
    for flavour in (PurePosixPath, PureWindowsPath):
        path = flavour("/lab") / key
        assert path.parts[: len(flavour("/lab").parts)] == flavour("/lab").parts
        assert ".." not in path.parts
    assert Path("/lab", key).resolve().is_relative_to(Path("/lab").resolve())


@given(st.lists(st.text("abcXYZ019_-. \u00b5", min_size=1, max_size=20), min_size=1, max_size=5))
def test_ordinary_names_are_safe(parts: list[str]) -> None:
    key = "/".join(f"n{part}" for part in parts)
    assert check_key(key) == key


def test_temporary_names_are_recognised() -> None:
    names = {temporary_name() for _ in range(100)}
    assert len(names) == 100
    assert all(is_temporary(name) for name in names)
    assert not any(map(is_temporary, ["im.png", ".imaging_db", "x.part", ".imaging_db-1.part"]))


def test_the_error_tells_the_rule() -> None:
    with pytest.raises(UnsafePath, match="has an empty part"):
        check_key("a/../b")
    with pytest.raises(UnsafePath, match="drive letter"):
        check_key("C:/a")


SERIAL = "ISP-2018-06-08-15-45-00-0001"


def test_keys_of_datasets() -> None:
    """As imagingDB spelled them, so that its stores can be read."""
    frames = storage_dir(UploadType.FRAMES, SERIAL)
    name = frame_name(FrameCoords(channel=1, slice=20, timepoint=0, position=300), ".png")
    assert object_key(frames, name) == f"raw_frames/{SERIAL}/im_c001_z020_t000_p300.png"
    files = storage_dir(UploadType.FILE, SERIAL)
    assert object_key(files, "sub/A1_2.tif") == f"raw_files/{SERIAL}/sub/A1_2.tif"


def test_large_indices_get_more_digits() -> None:
    assert frame_name(FrameCoords(0, 1000, 12345, 0), ".tif") == "im_c000_z1000_t12345_p000.tif"


def test_names_from_outside_cannot_leave_the_dataset() -> None:
    with pytest.raises(UnsafePath):
        object_key(f"raw_files/{SERIAL}", "../other/im.png")
