"""A claim is held by one live run; a dead run's is taken over at once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from imaging_db.catalog import Catalog
from imaging_db.errors import DatasetBusy
from imaging_db.transfer import claims
from imaging_db.transfer.claims import HeldClaim, take_claim
from imaging_db.transfer.run_token import new_token
from tests.support.catalog_rows import draft


def dead_token() -> str:
    """The token of a process that has ended."""
    code = "from imaging_db.transfer.run_token import new_token; print(new_token())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_live_run_keeps_its_claim_and_is_named(catalog: Catalog) -> None:
    catalog.claim(draft(), token=new_token())
    with pytest.raises(DatasetBusy, match=r"is being uploaded by process [0-9]+ on "):
        take_claim(catalog, draft())


def test_a_dead_runs_claim_is_taken_over_at_once(catalog: Catalog) -> None:
    catalog.claim(draft(), token=dead_token())
    assert take_claim(catalog, draft()).serial == draft().serial


def test_a_failure_gives_the_claim_back_and_success_keeps_it(catalog: Catalog) -> None:
    claim = take_claim(catalog, draft())
    with pytest.raises(OSError, match="disk"), HeldClaim(catalog, claim):
        raise OSError("disk")
    again = take_claim(catalog, draft())
    with HeldClaim(catalog, again):
        pass
    with pytest.raises(DatasetBusy):
        take_claim(catalog, draft())


def test_a_run_that_lost_its_claim_is_told(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_RENEW_EVERY", 0.01)
    claim = replace(take_claim(catalog, draft()), token="of someone else")
    with HeldClaim(catalog, claim) as held:
        held._thread.join(timeout=10)
        with pytest.raises(DatasetBusy):
            held.check()


def test_a_run_that_was_silent_for_long_looks_before_it_goes_on(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the computer slept: the thread that renews may not have come to it yet."""
    monkeypatch.setattr(claims, "_UNSURE_AFTER", -1.0)
    claim = take_claim(catalog, draft())
    with HeldClaim(catalog, claim) as held:
        held.check()
        catalog.release(claim)
        catalog.claim(draft(), token=new_token())
        with pytest.raises(DatasetBusy):
            held.check()


def test_a_run_that_lost_its_claim_cannot_take_the_dataset_of_another_back(
    catalog: Catalog,
) -> None:
    lost = take_claim(catalog, draft(nbr_objects=0))
    catalog.release(lost)
    catalog.publish(catalog.claim(draft(nbr_objects=0), token=new_token()))
    with pytest.raises(DatasetBusy), HeldClaim(catalog, lost) as held:
        held.withdraw()
    assert catalog.dataset(draft().serial).nbr_objects == 0
