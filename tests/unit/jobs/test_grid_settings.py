"""What a configuration of our own names, found by whoever joins from whatever folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaging_db.errors import ConfigError
from imaging_db.jobs.grid_settings import grid_source
from imaging_db.readers.grid.grid import TileGrid
from imaging_db.readers.grid.volumes_places import place_of


def test_files_that_are_named_one_by_one_are_kept_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "run1", "elsewhere"):
        (tmp_path / name).mkdir()
    for path in ("here/a.tif", "run1/b.tif"):
        (tmp_path / path).touch()
    config = tmp_path / "run1/ingest.json"
    absolute = str(tmp_path / "c.tif")
    files = {"0": "a.tif", "1": "b.tif", "2": absolute}
    config.write_text(json.dumps({"kind": "page_series", "files": files}))
    monkeypatch.chdir(tmp_path / "here")

    found = grid_source(str(config), pattern=None, settings={})

    assert found is not None
    assert found.settings["files"] == {
        "0": str(tmp_path / "here/a.tif"),
        "1": str(tmp_path / "run1/b.tif"),
        "2": absolute,
    }
    assert found.config["files"] == files


def test_an_address_with_a_signature_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="kept in the catalog") as caught:
        place_of("https://lab.example/brain.zarr?sig=S3cr3t", key="path")
    assert "S3cr3t" not in str(caught.value)


def test_more_frames_than_a_dataset_can_have_are_refused() -> None:
    TileGrid((0, 32768), (0, 32768), (0, 524287), (0, 1), 512, 512)
    with pytest.raises(ConfigError, match="has 2147483648 frames, a dataset has 2147483647"):
        TileGrid((0, 32768), (0, 32768), (0, 524288), (0, 1), 512, 512)
