"""A claim's token tells whether its owner can still be alive."""

from __future__ import annotations

import os
import subprocess
import sys

from imaging_db.transfer.run_token import is_dead, new_token, owner_name


def test_every_token_is_new_and_of_this_live_process() -> None:
    assert new_token() != new_token()
    assert not is_dead(new_token())
    assert owner_name(new_token()).startswith(f"process {os.getpid()} on ")


def test_a_process_that_ended_is_dead() -> None:
    code = "from imaging_db.transfer.run_token import new_token; print(new_token())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert is_dead(done.stdout.strip())


def test_another_host_or_an_unreadable_token_is_never_called_dead() -> None:
    host, pid, started, run = new_token().split("/")
    assert not is_dead("/".join(["elsewhere", "1", "1", run]))
    assert not is_dead("what is this")
    assert not is_dead(f"{host}/{pid}")
    if started:
        assert is_dead("/".join([host, pid, "1", run])), "the number was given to another process"
