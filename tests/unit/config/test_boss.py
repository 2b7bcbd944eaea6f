"""Configurations of the Boss ingest client: read as they are, and all that is wrong is told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imaging_db.config.boss import is_boss, read_boss
from imaging_db.errors import ConfigError
from tests.support.boss import EXAMPLES, FOLDER, LEFT_OUT, config_of, example, saved


def problems(tmp_path: Path, document: object) -> list[str]:
    """What is wrong, without the name of the file."""
    path = saved(tmp_path, document)
    with pytest.raises(ConfigError) as caught:
        read_boss(path)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_read(name: str) -> None:
    config = read_boss(FOLDER / f"{name}.json")
    assert config.is_volumetric is (name == "cloudvolume")
    assert config.document == example(name)
    assert (config.unused, config.notes) == ({}, ())
    assert is_boss(config.document)


def test_what_a_configuration_says_is_known_by_name(tmp_path: Path) -> None:
    config = config_of(tmp_path, "tiff_hyperstack")
    assert (config.collection, config.experiment, config.channel) == ("calcium", "mouse_8", "red")
    assert (config.protocol, config.host, config.resolution) == ("https", "api.boss.example", 0)
    assert config.extent == {"x": (0, 512), "y": (0, 512), "z": (0, 3), "t": (0, 4000)}
    assert config.size == (512, 512, 1)
    assert config.path_processor.params["base_filename"] == "run_<o:200p:4>"
    assert config.pixels.place == "client.tile_processor"


def test_chunks_have_a_depth(tmp_path: Path) -> None:
    assert config_of(tmp_path, "cloudvolume").size == (1024, 1024, 64)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("schema", LEFT_OUT, "schema: is required"),
        ("schema.name", "boss-v0.3-schema", "must be boss-v0.1-schema or boss-v0.2-schema"),
        ("schema.validator", "BossValidatorV02", "must be BossValidatorV01, found"),
        ("schema.validator", "os.system", "must be BossValidatorV01, found 'os.system'"),
        ("client", [], "client: must be an object {...}, found []"),
        ("client.backend.name", LEFT_OUT, "client.backend.name: is required"),
        ("client.backend.class", "MyBackend", "must be BossBackend, found 'MyBackend'"),
        ("client.backend.protocol", "ftp", "must be https or http, found 'ftp'"),
        ("client.backend.host", "https://api.boss.example", "must be the name of a computer alone"),
        ("client.path_processor", LEFT_OUT, "client.path_processor: is required"),
        ("client.path_processor.params", LEFT_OUT, "path_processor.params: is required"),
        ("client.path_processor.class", "", "must be a text that is not empty, found ''"),
        ("client.tile_processor", LEFT_OUT, "client.tile_processor: is required"),
        ("client.tile_processor.params", [1], "params: must be an object {...}, found [1]"),
        ("database.collection", "", "database.collection: must be a text that is not empty"),
        ("database.experiment", " ", "database.experiment: must be a text that is not empty"),
        ("database.channel", {"name": "em"}, "database.channel: must be a text"),
        ("ingest_job.resolution", -1, "must be a whole number from 0, found -1"),
        ("ingest_job.resolution", 0.0, "must be a whole number from 0, found 0.0"),
        ("ingest_job.resolution", True, "must be a whole number from 0, found True"),
        ("ingest_job.ingest_type", "volumetric", "boss-v0.1-schema knows only tile"),
        ("ingest_job.ingest_type", "tiles", "must be tile or volumetric, found 'tiles'"),
        ("ingest_job.extent", LEFT_OUT, "ingest_job.extent: is required"),
        ("ingest_job.extent.t", LEFT_OUT, "ingest_job.extent.t: is required"),
        ("ingest_job.extent.x", [], "must be two whole numbers [start, stop], found []"),
        ("ingest_job.extent.x", [0, 1, 2], "two whole numbers [start, stop], found [0, 1, 2]"),
        ("ingest_job.extent.x", [0, 512.0], "two whole numbers [start, stop], found [0, 512.0]"),
        ("ingest_job.extent.x", [512, 0], "extent.x: [512, 0] ends before it begins"),
        ("ingest_job.extent.y", [-5, 10], "extent.y: [-5, 10] begins before 0"),
        ("ingest_job.extent.z", [7, 7], "extent.z: [7, 7] is empty"),
        ("ingest_job.tile_size", LEFT_OUT, "ingest_job.tile_size: is required"),
        ("ingest_job.tile_size.x", 0, "tile_size.x: must be a whole number from 1, found 0"),
        ("ingest_job.tile_size.y", -512, "tile_size.y: must be a whole number from 1, found -512"),
        ("ingest_job.tile_size.z", 0, "tile_size.z: must be a whole number from 1, found 0"),
    ],
)
def test_what_the_client_let_pass_is_refused(
    tmp_path: Path, path: str, value: Any, problem: str
) -> None:
    (found,) = problems(tmp_path, example("catmaid_files", {path: value}))
    assert problem in found
    assert found.startswith(path)


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("ingest_job.ingest_type", LEFT_OUT, "is required by boss-v0.2-schema"),
        ("ingest_job.chunk_size", LEFT_OUT, "ingest_job.chunk_size: is required"),
        ("ingest_job.chunk_size.x", 1000, "1000 is no multiple of 512; the nearest is 1024"),
        ("ingest_job.chunk_size.y", 0, "must be a whole number from 1, found 0"),
        ("ingest_job.chunk_size.y", -512, "must be a whole number from 1, found -512"),
        ("ingest_job.chunk_size.z", 7, "7 is no multiple of 16; the nearest is 16"),
        ("client.chunk_processor", LEFT_OUT, "client.chunk_processor: is required"),
    ],
)
def test_chunks_are_made_of_whole_cuboids(
    tmp_path: Path, path: str, value: Any, problem: str
) -> None:
    found = problems(tmp_path, example("cloudvolume", {path: value}))
    assert problem in found[0]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "schema.validator": 1,
        "database.channel": "",
        "ingest_job.extent.x": [512, 0],
        "ingest_job.extent.t": 1,
        "ingest_job.tile_size.x": 0,
    }
    assert len(problems(tmp_path, example("z_stack", wrong))) == len(wrong)


def test_tiles_of_several_slices_are_taken_as_one_with_a_note(tmp_path: Path) -> None:
    config = config_of(tmp_path, "z_stack", {"ingest_job.tile_size.z": 16})
    assert config.size == (1024, 1024, 1)
    assert config.notes == (
        "ingest_job.tile_size.z is 16 and is taken as 1, as the server of the Boss did",
    )


def test_keys_that_are_not_of_the_schema_are_kept_as_unused(tmp_path: Path) -> None:
    changes = {"schema.version": "0.1", "ingest_job.extent.c": [0, 2], "comment": "by Ada"}
    assert config_of(tmp_path, "z_stack", changes).unused == {
        "comment": "by Ada",
        "schema.version": "0.1",
        "ingest_job.extent.c": [0, 2],
    }


@pytest.mark.parametrize(
    "path",
    [
        "client.tile_processor.params.token",
        "client.backend.api_token",
        "client.tile_processor.params.secrets",
        "aws.aws_secret_access_key",
        "aws.aws_session_token",
        "client.backend.apiKey",
        "client.backend.Authorization",
        "client.backend.access_token",
        "client.tile_processor.params.passwd",
    ],
)
def test_a_secret_is_refused_and_not_shown(tmp_path: Path, path: str) -> None:
    (found,) = problems(tmp_path, example("intern_tiles", {path: "S3cr3t-XYZ"}))
    assert found.startswith(f"{path}: holds a secret")
    assert "S3cr3t" not in found


def test_an_address_with_a_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    url = {"client.tile_processor.params.url": "https://ada:S3cr3t@tiles.lab.example/"}
    (found,) = problems(tmp_path, example("catmaid_urls", url))
    assert found.endswith("params.url: holds a name or a password before the @; remove it")


def test_a_token_that_is_null_is_no_secret(tmp_path: Path) -> None:
    assert config_of(tmp_path, "intern_tiles", {"client.tile_processor.params.token": None})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"schema": }', "job.json:1:12: "),
        ('{"schema": {}, "schema": {}}', "the key 'schema' is given twice"),
        ("[]", "holds a list"),
        ('{"client": ' + '{"a": ' * 200 + "1" + "}" * 201, "nested deeper than 100 levels"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"job\.json") as caught:
        read_boss(path)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        (example("z_stack"), True),
        ({"schema": {"name": "boss-v0.2-schema"}}, True),
        ({"client": 1, "ingest_job": 2}, True),
        ({"kind": "tile_files", "grid": {}}, False),
        ({"schema": "boss"}, False),
        ([], False),
        (None, False),
    ],
)
def test_a_configuration_of_the_boss_is_recognised(document: object, answer: bool) -> None:
    assert is_boss(json.loads(json.dumps(document))) is answer
