"""The broken builds fit the tree, so that `python -m tests.broken.run` can show that each is noticed."""

from __future__ import annotations

import pytest

from tests.broken.builds import ROOT, Build, all_builds


@pytest.mark.parametrize("build", all_builds(), ids=lambda build: build.name)
def test_each_broken_build_can_still_be_made(build: Build) -> None:
    build.apply(ROOT, "--check")
    files = [word for word in build.tests if word.startswith("tests/")]
    assert files, "no test is named"
    assert all((ROOT / file).exists() for file in files)


def test_no_broken_build_got_lost() -> None:
    assert len(all_builds()) >= 24
