"""Dockerfile and compose.yaml, as far as they can be checked where no container can be started."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from imaging_db.config import load_settings
from imaging_db.config.settings import Settings
from tests.support.documents import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE_TEXT = (ROOT / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SCRIPTS = set(PROJECT["project"]["scripts"])
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined."""
    lines = [line for line in DOCKERFILE.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, arguments.strip()) for name, _, arguments in pairs]


def arguments_of(name: str) -> list[str]:
    return [arguments for found, arguments in instructions() if found == name]


def filled(text: str) -> str:
    """A text of compose.yaml with the defaults of its variables, as without a file .env."""
    return _VARIABLE.sub(lambda found: found[2] or "", text)


# --- Dockerfile


def copied() -> set[str]:
    """Every path that the Dockerfile copies from the project."""
    found: set[str] = set()
    for arguments in arguments_of("COPY"):
        *sources, _ = [word for word in shlex.split(arguments) if not word.startswith("--")]
        found |= set(sources)
    return found


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source


def test_all_that_the_package_is_built_from_is_copied() -> None:
    project = PROJECT["project"]
    folders = {"imaging_db", *PROJECT["tool"]["setuptools"]["package-dir"].values()}
    files = {"pyproject.toml", "setup.py", project["readme"], *project["license-files"]}
    assert folders | files <= copied()


def test_the_package_is_installed_with_an_extra_that_exists() -> None:
    (install,) = [words for words in arguments_of("RUN") if "pip install" in words]
    assert shlex.split(install) == ["pip", "install", ".${EXTRAS}"]
    assert 'EXTRAS=""' in arguments_of("ARG")
    extras = SERVICES["jupyter"]["build"]["args"]["EXTRAS"]
    assert extras.strip("[]") in PROJECT["project"]["optional-dependencies"]


def test_python_is_one_that_the_package_takes() -> None:
    (base,) = arguments_of("FROM")
    found = re.fullmatch(r"python:(\d+)\.(\d+)-slim-bookworm", base)
    least = re.fullmatch(r">=(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert found and least
    assert tuple(map(int, found.groups())) >= tuple(map(int, least.groups()))


def test_commands_run_as_an_ordinary_user_in_a_folder_of_its_own() -> None:
    names = [name for name, _ in instructions()]
    (user,) = arguments_of("USER")
    assert user not in ("root", "0")
    assert names.index("USER") > max(i for i, name in enumerate(names) if name == "RUN")
    made = " ".join(arguments_of("RUN"))
    assert f"useradd --create-home --uid 1000 {user}" in made
    assert arguments_of("WORKDIR")[-1] in arguments_of("VOLUME")
    assert f"--owner {user} --group {user} {arguments_of('VOLUME')[0]}" in made


def test_a_command_of_ours_can_be_named_after_the_image() -> None:
    (entry,), (command,) = arguments_of("ENTRYPOINT"), arguments_of("CMD")
    assert json.loads(entry) == ["/usr/bin/env", "--"]
    assert json.loads(command)[0] in SCRIPTS


# --- compose.yaml


def test_the_services_of_a_small_lab_are_there() -> None:
    assert set(SERVICES) == {"postgres", "s3", "jupyter", "imaging_db"}
    assert SERVICES["imaging_db"]["profiles"] == ["commands"]


@pytest.mark.parametrize("name", ["postgres", "s3", "jupyter"])
def test_a_service_tells_that_it_is_well(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check["retries"] > 1
    ports = [port.split(":") for port in SERVICES[name]["ports"]]
    assert all(host == "127.0.0.1" for host, _, _ in ports), "open to this computer only"
    told = " ".join(check["test"])
    assert name == "postgres" or f":{ports[0][2]}/" in told


@pytest.mark.parametrize("name", ["jupyter", "imaging_db"])
def test_our_services_wait_for_the_others(name: str) -> None:
    waited = SERVICES[name]["depends_on"]
    assert {key: value["condition"] for key, value in waited.items()} == {
        "postgres": "service_healthy",
        "s3": "service_healthy",
    }
    assert (ROOT / SERVICES[name]["build"]["context"]).is_dir()


def test_images_of_others_are_of_a_fixed_version() -> None:
    for name, service in SERVICES.items():
        image, _, version = service["image"].partition(":")
        assert version and version != "latest", name
        assert "build" in service or re.search(r"\d", version), image


def test_volumes_and_configs_are_declared() -> None:
    used = {mount.split(":")[0] for s in SERVICES.values() for mount in s.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])
    named = {config["source"] for s in SERVICES.values() for config in s.get("configs", ())}
    assert named == set(COMPOSE["configs"])


def test_passwords_come_from_the_environment_with_examples_that_say_so() -> None:
    secret = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if secret.search(key):
                found = _VARIABLE.fullmatch(value)
                assert found and "example" in (found[2] or ""), (name, key)
    password = json.loads(COMPOSE["configs"]["login"]["content"])["password"]
    assert password == SERVICES["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert "THE PASSWORDS BELOW ARE EXAMPLES" in COMPOSE_TEXT
    for variable in set(_VARIABLE.findall(COMPOSE_TEXT)):
        assert f"{variable[0]}=..." in COMPOSE_TEXT, "named in the comment on .env"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """What login and config of compose.yaml add up to."""
    for name in ("login", "config"):
        (tmp_path / name).write_text(filled(COMPOSE["configs"][name]["content"]))
    return load_settings(tmp_path / "login", tmp_path / "config")


def test_login_and_config_lead_to_the_services(settings: Settings) -> None:
    database, postgres = settings.database, SERVICES["postgres"]["environment"]
    assert database.host in SERVICES
    assert database.dbname == postgres["POSTGRES_DB"]
    assert database.username == postgres["POSTGRES_USER"]
    assert database.password == filled(postgres["POSTGRES_PASSWORD"])
    assert f":{database.port}:{database.port}" in SERVICES["postgres"]["ports"][0]

    endpoint = urlsplit(settings.store.endpoint_url or "")
    assert endpoint.hostname in SERVICES
    assert SERVICES["s3"]["ports"] == [f"127.0.0.1:{endpoint.port}:{endpoint.port}"]
    assert f"-bucket={settings.store.access}" in SERVICES["s3"]["command"]


@pytest.mark.parametrize("name", ["jupyter", "imaging_db"])
def test_our_services_find_login_config_and_credentials(name: str) -> None:
    service = SERVICES[name]
    places = {config["target"] for config in service["configs"]}
    environment = service["environment"]
    assert places == {environment["IMAGING_DB_LOGIN"], environment["IMAGING_DB_CONFIG"]}
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert environment[key] == SERVICES["s3"]["environment"][key]


@pytest.mark.parametrize("text", [DOCKERFILE, COMPOSE_TEXT], ids=["Dockerfile", "compose.yaml"])
def test_the_examples_in_comments_name_our_commands(text: str) -> None:
    comments = re.sub(r"\\\n#\s*", "", "\n".join(re.findall(r"^#.*", text, re.MULTILINE)))
    named = re.findall(r"run --rm (?:--\w+ \S+ )*imaging_db (\S+)", comments)
    assert named
    assert {word for word in named if not word.startswith("(")} <= SCRIPTS
