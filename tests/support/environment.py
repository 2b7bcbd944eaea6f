"""A clean environment: no credentials, config or home of who runs the tests, and a Ctrl-C that is heard."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_FOREIGN = ("AWS_", "IMAGING_DB_", "PG", "XDG_")


def pytest_configure() -> None:
    """Hear Ctrl-C, which a shell makes what it runs in the background ignore, and its children too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home", numbered=True)
    for name in list(os.environ):
        if name.startswith(_FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("IMAGING_DB_HOME", str(home / "imaging_db"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def shared_data() -> Path | None:
    """The large corpus of real files beside the project, None in a clone that stands alone."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    return folder if folder.is_dir() else None
