"""Nothing is undocumented, and nothing is documented that does not exist."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imaging_db import __version__, errors
from imaging_db.cli import data_downloader, data_uploader, exit_codes, query_data
from imaging_db.cli.entry import make_parser
from imaging_db.cli.main import build_parser
from imaging_db.config.discovery import CONFIG_NAME, LOGIN_NAME
from imaging_db.config.load import CONFIG_KEYS, LOGIN_KEYS
from imaging_db.config.manifest import COLUMNS
from imaging_db.config.settings import STORAGES
from imaging_db.readers import registry
from tests.support.documents import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "sample").glob("*.md"),
]
_OPTION = re.compile(r"`(--?[a-z][a-z_-]*)`")


def section(text: str, title: str) -> str:
    """The text of a document from a heading to the next of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert found, f"no heading {title!r}"
    level = len(found[1])
    rest = text[found.end() :]
    after = re.search(rf"^#{{1,{level}}} ", rest, re.MULTILINE)
    return rest[: after.start()] if after else rest


def first_table(text: str) -> list[list[str]]:
    """The rows of the first table of a text, without its head; code marks are taken off."""
    lines = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert lines, "no table"
    cells = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in lines[0].splitlines()]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def keys_of(text: str) -> list[str]:
    """The first column of the first table."""
    return [row[0].strip("`") for row in first_table(text)]


# --- commands and options


def commands(
    parser: argparse.ArgumentParser, name: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that does something, with its full name."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield name, parser
    for action in below:
        for word, child in action.choices.items():
            yield from commands(child, f"{name} {word}")


def scripts() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The three commands of imagingDB, then those of imaging-db."""
    for module in (data_uploader, data_downloader, query_data):
        name = module.__name__.rpartition(".")[2]
        parser = make_parser(name, "", "")
        module.add_arguments(parser)
        yield name, parser
    yield from commands(build_parser(), "imaging-db")


ALIASES = {
    "imaging-db upload": "data_uploader",
    "imaging-db download": "data_downloader",
    "imaging-db query": "query_data",
}
PARSERS = dict(scripts())


@pytest.mark.parametrize("name", [name for name in PARSERS if name not in ALIASES])
def test_the_options_of_each_command_are_those_documented(name: str) -> None:
    documented = set(_OPTION.findall(section(COMMANDS, name)))
    options = {text for action in PARSERS[name]._actions for text in action.option_strings}
    assert documented == options


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_commands_of_imagingdb_are_also_part_of_imaging_db(alias: str, name: str) -> None:
    assert f"`{alias}` is the same." in section(COMMANDS, name)
    own = {text for action in PARSERS[name]._actions for text in action.option_strings}
    other = {text for action in PARSERS[alias]._actions for text in action.option_strings}
    assert own - {"--version"} == other


def test_no_command_is_documented_that_does_not_exist() -> None:
    titles = re.findall(r"^## (.*)$", COMMANDS, re.MULTILINE)
    assert set(titles) == set(PARSERS) - set(ALIASES)


def test_common_options_say_what_they_mean() -> None:
    common = set(_OPTION.findall(COMMANDS.partition("## data_uploader")[0]))
    explained = set()
    for name in PARSERS.keys() - ALIASES.keys():
        for line in section(COMMANDS, name).splitlines():
            if line.startswith("|"):
                explained |= set(_OPTION.findall(line.split("|")[1]))
    everything = {t for p in PARSERS.values() for a in p._actions for t in a.option_strings}
    assert everything == common | explained


# --- files


def test_every_column_of_the_csv_is_documented() -> None:
    assert keys_of(section(README, "The CSV")) == list(COLUMNS)


def test_every_key_of_config_and_login_is_documented() -> None:
    text = section(README, "Config and login")
    config, login = text.split(f"`{LOGIN_NAME}`:")
    assert f"`{CONFIG_NAME}`" in config
    assert keys_of(config) == list(CONFIG_KEYS)
    assert sorted(keys_of(login)) == sorted(LOGIN_KEYS)
    for storage in STORAGES:
        assert f"`{storage}`" in config


def test_limits_are_documented_as_they_are() -> None:
    from imaging_db.readers.base import ReadLimits

    defaults = {
        row[0].strip("`"): row[1] for row in first_table(section(README, "Config and login"))
    }
    limits = ReadLimits()
    assert int(defaults["max_frame_bytes"]) == limits.max_frame_bytes
    assert int(defaults["max_frames"]) == limits.max_frames


def test_every_environment_variable_is_documented() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "imaging_db").rglob("*.py")
    )
    used = set(re.findall(r"\bIMAGING_DB_[A-Z_]+\b", source))
    assert used == set(re.findall(r"`(IMAGING_DB_[A-Z_]+)`", section(README, "Config and login")))


def test_every_reader_is_documented() -> None:
    assert keys_of(section(README, "Formats")) == list(registry._BUILT_IN)


# --- exit codes and errors


def test_the_readme_has_the_table_of_exit_codes() -> None:
    rows = first_table(section(README, "Exit codes"))
    assert {int(code): meaning for code, meaning in rows} == exit_codes.TABLE


def tree(root: type[errors.ImagingDBError]) -> Iterator[type[errors.ImagingDBError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(errors.ImagingDBError)), ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_with_its_exit_code(kind: type[errors.ImagingDBError]) -> None:
    assert kind.exit_code in exit_codes.TABLE
    assert kind.__module__ == "imaging_db.errors"
    assert re.search(rf"^ +{kind.__name__} +{kind.exit_code}\b", errors.__doc__ or "", re.MULTILINE)
    assert kind.__doc__


# --- documents as such


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1].split(" - ")[0] == __version__


def test_the_readme_opens_with_what_to_do() -> None:
    before, _, after = README.partition("```sh\n")
    assert len(before.split("\n\n")) <= 6
    first, second, *_ = after.splitlines()
    assert (first.split()[:2], second.split()[:2]) == (["make", "demo"], ["make", "test"])
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(
        r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), f"{path.name}: {target}"
        if anchor:
            assert anchor in anchors(found), f"{path.name}: {target}"


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()) for title in titles)
    return {title.replace(" ", "-") for title in plain}


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
    for name in listed:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {name[:4]}: ")
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_the_glossary_names_classes_and_tables_that_exist() -> None:
    from imaging_db.catalog.tables import Base

    rows = first_table(
        section((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), "Glossary")
    )
    columns = {column.name for table in Base.metadata.sorted_tables for column in table.columns}
    tables = {table.name: {c.name for c in table.columns} for table in Base.metadata.sorted_tables}
    source = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "imaging_db").rglob("*.py")
    )
    for row in rows:
        for name in re.findall(r"`(\w+)[.\w]*`", row[3]):
            assert re.search(rf"^(class|def) {name}\b", source, re.MULTILINE), (row[0], name)
        for name in re.findall(r"`([\w.]+)`", row[4]):
            table, _, column = name.rpartition(".")
            known = column in tables.get(table, ()) if table else name in tables or name in columns
            assert known, (row[0], name)
