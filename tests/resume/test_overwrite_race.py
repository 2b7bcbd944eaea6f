"""Two commands that replace one dataset at the same moment: one whole dataset is there in the end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imaging_db.model import UploadType
from tests.support.desk import Desk, write_stack
from tests.support.killed import moments
from tests.support.lab import build_lab
from tests.torture.amount import few_or

ROUNDS = few_or(3, 6)
"""How often two commands race; more in `make torture`."""


@pytest.mark.fault("C2")
@pytest.mark.parametrize("combination", ["sqlite+local", "postgres+local"])
@pytest.mark.parametrize("exists", [False, True], ids=["new", "there already"])
def test_racing_overwrites_of_one_id_give_one_whole_dataset(
    combination: str, exists: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    desk = Desk(build_lab(combination, request.getfixturevalue, tmp_path), UploadType.FRAMES)
    sources = [tmp_path / "one.tif", tmp_path / "two.tif"]
    truths = [write_stack(source, seed=n) for n, source in enumerate(sources, 1)]
    desk.upload(0)
    undisturbed = desk.upload(0, "--overwrite")
    for number, moment in enumerate(moments(undisturbed.seconds / 2, rounds=ROUNDS), 1):
        if exists:
            assert desk.upload(number).code == 0
        first, second = (desk.uploading(number, "--overwrite", source=s) for s in sources)
        first.start()
        time.sleep(moment)
        second.start()
        done = [first.wait(), second.wait()]
        told = "\n".join(f"{run.code}: {run.told}" for run in done)
        codes = {run.code for run in done}
        assert 0 in codes, told
        assert codes <= {0, 7, 8}, told
        seen = desk.seen(number)
        assert seen in [t for t, run in zip(truths, done, strict=True) if run.code == 0], told
        assert desk.failures(number) == [], told
    assert set(desk.lab.keys()) == desk.keys(*range(ROUNDS + 1))
    assert desk.files_in_store() == desk.keys(*range(ROUNDS + 1))
