"""Asserts of the public contract suites tell what they compared."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("imaging_db.testing")
