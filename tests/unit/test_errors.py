"""Errors come back whole from other processes."""

from __future__ import annotations

import pickle

import pytest

from imaging_db import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("what", hint="do this"),
        errors.ConfigError(["one", "two"]),
        errors.DatasetNotFound("none", nearest=["a"]),
        errors.ObjectNotFound("key", "/store"),
        errors.ChecksumMismatch("key", expected="a" * 64, found="b" * 64),
        errors.ReaderError("a.tif", "cut off", page=3, hint="copy it again"),
        errors.StoreUnavailable("away", transient=False),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_after_pickling(error: errors.ImagingDBError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
