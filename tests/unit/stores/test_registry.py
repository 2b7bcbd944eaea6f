"""Stores by name, those of other packages too, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imaging_db.config.settings import STORAGES, StoreSettings
from imaging_db.errors import ConfigError, UnknownPlugin
from imaging_db.stores.base import Store
from imaging_db.stores.registry import names, open_store


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        (StoreSettings("memory", "lab"), "memory://lab"),
        (StoreSettings("s3", "lab"), "s3://lab"),
        (StoreSettings("s3", "lab", "http://10.0.0.1:9000"), "s3://lab at http://10.0.0.1:9000"),
    ],
)
def test_opens_what_the_settings_say(settings: StoreSettings, address: str) -> None:
    store = open_store(settings)
    assert isinstance(store, Store)
    assert store.address == address


def test_opening_looks_at_nothing(tmp_path: Path) -> None:
    store = open_store(StoreSettings("local", str(tmp_path / "new")))
    assert store.address == str(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_every_storage_of_the_config_exists() -> None:
    assert set(STORAGES) <= set(names())


def test_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UnknownPlugin, match="unknown storage 'tape'; known: local, memory, s3"):
        open_store(StoreSettings("tape", "lab"))


class TestPlugins:
    @pytest.fixture
    def site(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.syspath_prepend(tmp_path)
        return tmp_path

    def test_are_found(self, site: Path) -> None:
        install(site, "imaging-tape", "tape = tape_store:open_tape")
        (site / "tape_store.py").write_text(
            "from imaging_db.stores.memory import MemoryStore\n"
            "def open_tape(settings):\n"
            "    return MemoryStore('tape ' + settings.access)\n"
        )
        assert "tape" in names()
        assert open_store(StoreSettings("tape", "7")).address == "memory://tape 7"

    def test_that_cannot_be_imported_are_named(self, site: Path) -> None:
        install(site, "imaging-broken", "broken = no_such_module:open_it")
        assert "broken" in names()
        with pytest.raises(
            ConfigError, match=r"'broken' of imaging-broken cannot be used: .*no_such"
        ):
            open_store(StoreSettings("broken", "x"))

    def test_that_are_no_function_are_refused(self, site: Path) -> None:
        install(site, "imaging-odd", "odd = imaging_db.stores.registry:GROUP")
        with pytest.raises(ConfigError, match="is not callable"):
            open_store(StoreSettings("odd", "x"))

    def test_of_one_name_are_refused(self, site: Path) -> None:
        install(site, "tape-one", "tape = a:b")
        install(site, "tape-two", "tape = c:d")
        with pytest.raises(ConfigError, match=r"tape-one and tape-two|tape-two and tape-one"):
            open_store(StoreSettings("tape", "x"))


def install(site: Path, name: str, entry: str) -> None:
    """What pip leaves of a package, as far as entry points go."""
    folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[imaging_db.stores]\n{entry}\n")


def test_importing_the_registry_is_light() -> None:
    script = (
        "import sys; import imaging_db.stores, imaging_db.stores.registry, imaging_db.stores.local;"
        "heavy = {'boto3', 'botocore', 'tifffile', 'pandas', 'sqlalchemy', 'urllib3'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
