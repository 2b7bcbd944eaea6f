"""Sizes as people write them, and limits from the config and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaging_db.cli import data_uploader
from imaging_db.config import load_settings
from imaging_db.config.sizes import size_in_bytes
from imaging_db.errors import ConfigError
from imaging_db.readers.base import ReadLimits
from imaging_db.transfer.plan import reader_options
from tests.support.acquisitions import imagej_stack
from tests.support.lab import Lab


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2147483648", 2**31),
        ("2 GiB", 2**31),
        ("2gib", 2**31),
        ("1.5 kB", 1500),
        ("500MB", 500_000_000),
        (" 1 T ", 10**12),
        ("7 b", 7),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "2 XB", "-1", "0", "0.1", "1e9", "GiB", "²", "1 GiB 2", "9" * 99]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no size|less than a byte"):
        size_in_bytes(text)


@pytest.mark.fault("S4")
def test_limits_come_from_the_config_and_the_command_line_wins(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(
        json.dumps({"max_frame_bytes": "2 MB", "max_frames": 7, "max_metadata_bytes": "1 KiB"})
    )
    limits = reader_options(load_settings(config=config).upload, None).limits
    assert limits == ReadLimits(2_000_000, 7, 1024)
    settings = load_settings(config=config, max_frame_bytes=10, max_frames=20)
    assert reader_options(settings.upload, None).limits == ReadLimits(10, 20, 1024)
    assert settings.origins["max_frames"] == "command line"
    config.write_text('{"max_metadata_bytes": "many"}')
    with pytest.raises(ConfigError, match="max_metadata_bytes: 'many' is no size"):
        load_settings(config=config)


@pytest.mark.fault("I-8")
def test_what_is_above_a_limit_is_refused_and_the_option_is_named(
    small_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    source = small_lab.folder / "stack.tif"
    imagej_stack(source, t=1, z=4, c=2, side=64)
    login, config = small_lab.write_files()
    words = ["--csv", str(small_lab.csv(source)), "--login", str(login), "--config", str(config)]
    for option, limit in {"--max_frame_bytes": "8000", "--max_frames": "7"}.items():
        assert data_uploader.main([*words, option, limit]) == 4
        assert f"raise {option.removeprefix('--')}" in capsys.readouterr().err
    assert data_uploader.main([*words, "--max_frame_bytes", "9KiB", "--max_frames", "8"]) == 0
    assert data_uploader.main([*words, "--max_frame_bytes", "much"]) == 2
    assert "is no size" in capsys.readouterr().err
