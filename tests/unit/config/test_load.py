"""Settings come from flags, environment, files and defaults, in this order; mistakes are told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imaging_db.config import MetadataSchema, Settings, load_settings
from imaging_db.errors import ConfigError
from imaging_db.model import UploadType

LOGIN = {
    "drivername": "postgres",
    "username": "ann",
    "password": "S3cr3t-XYZ",
    "host": "db.lab",
    "port": 5433,
    "dbname": "imaging",
}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def problems(**files: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(**files)
    return list(caught.value.problems)


def test_without_any_file_everything_lies_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGING_DB_HOME", str(tmp_path / "mine"))
    settings = load_settings()
    assert settings.database.address == f"sqlite:{tmp_path / 'mine' / 'catalog.sqlite'}"
    assert settings.store.access == str(tmp_path / "mine" / "store")
    assert settings.upload.upload_type is UploadType.FRAMES


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_a_login_of_the_original_is_taken_as_it_is(tmp_path: Path, driver: str) -> None:
    login = save(tmp_path / "login.json", {**LOGIN, "drivername": driver})
    database = load_settings(login).database
    assert database.drivername == "postgresql+psycopg2"
    assert database.address == "postgresql://ann@db.lab:5433/imaging"
    assert database.password == "S3cr3t-XYZ"
    assert "S3cr3t-XYZ" not in f"{database!r} {database.address}"


@pytest.mark.parametrize("key", ["meta_schema", "schema_filename"])
def test_both_names_of_the_schema_are_known_and_lie_beside_the_config(
    tmp_path: Path, key: str
) -> None:
    save(tmp_path / "lab" / "schema.json", {"type": "object"})
    config = {
        "upload_type": "frames",
        "microscope": "M",
        key: "schema.json",
        "storage_access": "store",
    }
    settings = load_settings(config=save(tmp_path / "lab" / "config.json", config))
    assert settings.upload.meta_schema == tmp_path / "lab" / "schema.json"
    assert settings.store.access == str(tmp_path / "lab" / "store")


def test_the_order_is_flag_environment_working_folder_user_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def microscope(config: Path | None = None) -> str | None:
        return load_settings(config=config).upload.microscope

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert microscope() is None
    save(tmp_path / "xdg" / "imaging_db" / "config.json", {"microscope": "user"})
    assert microscope() == "user"
    save(tmp_path / "config.json", {"microscope": "working folder"})
    assert microscope() == "working folder"
    monkeypatch.setenv("IMAGING_DB_CONFIG", str(save(tmp_path / "e.json", {"microscope": "env"})))
    assert microscope() == "env"
    assert microscope(save(tmp_path / "f.json", {"microscope": "flag"})) == "flag"


def test_flags_override_where_the_bytes_are(tmp_path: Path) -> None:
    config = save(tmp_path / "config.json", {"storage": "local", "storage_access": "store"})
    settings = load_settings(config=config, storage="s3", storage_access="bucket")
    assert (settings.store.storage, settings.store.access) == ("s3", "bucket")


@pytest.mark.parametrize(
    ("config", "flag", "codec"),
    [
        ({}, None, "png"),
        ({"frames_codec": "tiff"}, None, "tiff"),
        ({"frames_codec": "tiff"}, "jxl", "jxl"),
    ],
)
def test_the_codec_is_that_of_the_flag_of_the_config_or_png(
    tmp_path: Path, config: dict[str, str], flag: str | None, codec: str
) -> None:
    settings = load_settings(config=save(tmp_path / "config.json", config), codec=flag)
    assert settings.upload.frames_codec == codec


@pytest.mark.parametrize(
    ("config", "flag", "message"),
    [
        ({}, "jlx", "--codec: 'jlx' is none of png, jxl, tiff (did you mean 'jxl'?)"),
        ({"upload_type": "file"}, "jxl", "--codec: means nothing here, upload_type is file"),
    ],
)
def test_a_codec_flag_that_is_wrong_is_told(
    tmp_path: Path, config: dict[str, str], flag: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(config=save(tmp_path / "config.json", config), codec=flag)
    (problem,) = caught.value.problems
    assert problem.startswith(message)


@pytest.mark.fault("M5")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"microscope": "a",}', "config.json:1:"),
        ('{\n  "microscope": \n}', "config.json:3:1: "),
        ('{"microscope": NaN}', "NaN is not JSON"),
        ('{"microscope": "a", "microscope": "b"}', "the key 'microscope' is given twice"),
        ("[]", "holds a list"),
        ("", "config.json:1:1: "),
        ("[" * 100_000, "config.json: nested too deeply"),
        ('{"microscop": "a"}', "microscop: unknown key (did you mean 'microscope'?)"),
        (
            '{"upload_type": "frame"}',
            "upload_type: 'frame' is none of frames, file (did you mean 'frames'?)",
        ),
        ('{"upload_type": 3}', "upload_type: must be a text"),
        (
            '{"frames_codec": "jlx"}',
            "frames_codec: 'jlx' is none of png, jxl, tiff (did you mean 'jxl'?)",
        ),
        ('{"frames_codec": "gif"}', "none of png, jxl, tiff"),
        ('{"storage": "ftp"}', "storage: 'ftp' is none of local, s3"),
        ('{"storage": "s3"}', "storage_access: is required for s3"),
        ('{"max_frames": 0}', "max_frames: must be a whole number from 1"),
        ('{"meta_schema": "nope.json"}', "nope.json is not a file"),
        ('{"meta_schema": "a", "schema_filename": "b"}', "is the same as meta_schema"),
    ],
)
def test_a_mistake_in_the_config_is_named(tmp_path: Path, text: str, message: str) -> None:
    found = problems(config=save(tmp_path / "config.json", text))
    assert any(message in problem for problem in found), found


@pytest.mark.fault("M5")
def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"microscope": "M"}')
    assert load_settings(config=path).upload.microscope == "M"


def test_mistakes_in_both_files_are_told_at_once_and_without_the_password(tmp_path: Path) -> None:
    login = save(
        tmp_path / "login.json", {**LOGIN, "port": "x", "pasword": "S3cr3t-XYZ", "host": ""}
    )
    config = save(tmp_path / "config.json", {"colour": 1, "storage": "nope"})
    text = "\n".join(problems(login=login, config=config))
    for word in ("port", "pasword", "host", "colour", "storage"):
        assert word in text
    assert "S3cr3t-XYZ" not in text


@pytest.mark.parametrize("flag", ["login", "config"])
def test_a_file_that_is_named_must_exist(tmp_path: Path, flag: str) -> None:
    assert problems(**{flag: tmp_path / "nope.json"}) == [
        f"--{flag} {tmp_path / 'nope.json'}: not found"
    ]
    assert "is not a file" in problems(**{flag: tmp_path})[0]


def test_settings_tell_where_each_came_from(tmp_path: Path) -> None:
    settings: Settings = load_settings(
        config=save(tmp_path / "config.json", {"storage_access": "s"})
    )
    assert settings.origins["database"] == "embedded default"
    assert settings.origins["store"] == f"{tmp_path / 'config.json'} (--config)"


def test_a_schema_tells_field_and_cause(tmp_path: Path) -> None:
    schema = {"required": ["A"], "properties": {"A": {"properties": {"n": {"type": "integer"}}}}}
    compiled = MetadataSchema(save(tmp_path / "schema.json", schema))
    assert compiled.problem({"A": {"n": 1}}) is None
    assert compiled.problem({"A": {"n": "x"}}) == ("A.n", "'x' is not of type 'integer'")
    assert compiled.problem({}) == ("metadata", "'A' is a required property")


def test_what_is_no_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a JSON Schema, at type"):
        MetadataSchema(save(tmp_path / "schema.json", {"type": "nonsense"}))
