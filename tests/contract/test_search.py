"""Searches over a whole catalog: SQL on both databases agrees with a filter of plain Python."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings

from imaging_db.catalog import Catalog, datasets, frames, inventory, schema, search
from imaging_db.catalog.datasets import DatasetOrder
from imaging_db.config.settings import DatabaseSettings
from imaging_db.errors import UsageError
from imaging_db.model import DatasetQuery, FrameSelection, parse_expression
from imaging_db.model.expression_tokens import MOST_PARTS
from imaging_db.model.expression_values import LONGEST_PATTERN
from tests.support.catalog_rows import acquisition, draft, file, frame, grid, store, store_files
from tests.support.plain_filter import Known, fits, matching_datasets, matching_frames
from tests.support.postgres import PostgresServer
from tests.support.random_catalog import QUESTIONS, fill

EXAMPLES = int(os.environ.get("IMAGING_DB_TEST_QUESTIONS", "50"))
ONE, TWO, THREE, UNSEEN = (f"ISP-2018-06-08-15-45-00-000{n}" for n in range(1, 5))


class Filled:
    """A catalog and what can be seen in it; hypothesis would print all of a dataclass."""

    def __init__(self, catalog: Catalog, known: list[Known]) -> None:
        self.catalog = catalog
        self.known = known


@pytest.fixture(
    scope="module", params=[(kind, seed) for kind in ("sqlite", "postgresql") for seed in (1, 2)]
)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Filled]:
    """A catalog and what can be seen in it."""
    kind, seed = request.param
    if kind == "sqlite":
        where = DatabaseSettings(
            "sqlite", str(tmp_path_factory.mktemp("search") / "catalog.sqlite")
        )
    else:
        where = request.getfixturevalue("postgres_server").create()
    with Catalog.open(where, create=True) as catalog:
        yield Filled(catalog, fill(catalog, seed))
    if kind != "sqlite":
        request.getfixturevalue("postgres_server").drop(where)


@given(question=QUESTIONS)
@example('meta."Camera-1 Gain"[0] = 0')  # PostgreSQL's arrow takes a value for a list of one
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_database_finds_what_plain_python_finds(filled: Filled, question: str) -> None:
    catalog, known = filled.catalog, filled.known
    where = parse_expression(question)
    assert parse_expression(str(where)) == where
    found = [(one.serial, one.frame.coords) for one in catalog.search.frames(where)]
    assert found == matching_frames(known, where)
    assert catalog.search.count_frames(where) == len(found)
    datasets = [one.serial for one in catalog.search.datasets(where)]
    assert datasets == matching_datasets(known, where)
    assert catalog.search.count_datasets(where) == len(datasets)
    asked = known[0]
    selection = FrameSelection(where=where)
    of_one = [one.coords for one in catalog.frames(asked.dataset.serial, selection)]
    assert of_one == sorted(one.coords for one in asked.frames if fits(where, asked, one))
    assert catalog.count_frames(asked.dataset.serial, selection) == len(of_one)


# --- what is asked by hand


@pytest.fixture
def lab(catalog: Catalog) -> Catalog:
    """Two datasets of frames, one of files, and an upload that has not finished."""
    store(catalog, grid(2, 3, 2, 1), ONE, microscope="Leica")
    store(catalog, grid(1, 2, 1, 2), TWO, parent_serial=ONE)
    store_files(catalog, [file("a.czi")], THREE, description="Leica files")
    claim = catalog.claim(draft(UNSEEN, 4), token="unfinished")
    catalog.add_frames(claim, grid(1, 2, 1, 2))
    return catalog


def found(catalog: Catalog, query: str) -> list[str]:
    return [
        f"{one.serial[-1]} {one.frame.coords}"
        for one in catalog.search.frames(parse_expression(query))
    ]


def test_frames_come_by_dataset_channel_slice_timepoint_position(lab: Catalog) -> None:
    assert found(lab, "z = last and t = 0") == [
        "1 c0 z2 t0 p0",
        "1 c1 z2 t0 p0",
        "2 c0 z1 t0 p0",
        "2 c0 z1 t0 p1",
    ]


@pytest.mark.parametrize("query", ["z >= 0", "z = first, last"])
def test_a_search_goes_on_behind_any_place(lab: Catalog, query: str) -> None:
    where = parse_expression(query)
    everything = list(lab.search.frames(where))
    for number, one in enumerate(everything, 1):
        assert list(lab.search.frames(where, after=one.place)) == everything[number:]
        assert list(lab.search.frames(where, limit=number)) == everything[:number]


@pytest.fixture
def dictionary(postgres_server: PostgresServer) -> Iterator[Catalog]:
    """A catalog where PostgreSQL orders b between A and C; by the codes of characters it is behind both."""
    settings = postgres_server.create_in_locale("en-US")
    with Catalog.open(settings, create=True) as catalog:
        yield catalog
    postgres_server.drop(settings)


def test_frames_come_in_one_order_whatever_the_locale_of_the_database(
    dictionary: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project in "AbC":
        store(dictionary, grid(1, 2, 1, 1), f"{project}-2018-06-08-15-45-00-0001")
    monkeypatch.setattr(search, "DATASET_PAGE", 1)
    for query in ("z >= 0", "z = first, last", "z = mid or z = last"):
        where = parse_expression(query)
        everything = list(dictionary.search.frames(where))
        assert [one.serial[0] for one in everything] == list("AACCbb")
        for number, one in enumerate(everything, 1):
            assert list(dictionary.search.frames(where, after=one.place)) == everything[number:]
        with monkeypatch.context() as smaller:
            smaller.setattr(search, "PAGE", 1)
            assert list(dictionary.search.frames(where)) == everything
        assert [one.serial[0] for one in dictionary.search.datasets(where)] == list("ACb")
    since = list(dictionary.search.datasets(parse_expression("z = 0"), since="C-2018"))
    assert [one.serial[0] for one in since] == list("Cb")


def test_every_listing_is_whole_whatever_the_locale_of_the_database(
    dictionary: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["a.czi", "B.czi", "c.czi", "_d.czi", "D.czi", "é.czi", "a-b.czi", "ab.czi"]
    for project in "AbC":
        store_files(dictionary, list(map(file, names)), f"{project}-2018-06-08-15-45-00-0001")
    for module in (datasets, frames, inventory):
        monkeypatch.setattr(module, "PAGE", 1)
    orders: tuple[DatasetOrder, ...] = ("serial", "acquired_at")
    for order in orders:
        found = [one.serial[0] for one in dictionary.datasets(DatasetQuery(), order=order)]
        assert sorted(found) == ["A", "C", "b"]
    serial = "A-2018-06-08-15-45-00-0001"
    assert sorted(one.name for one in dictionary.files(serial)) == sorted(names)
    assert [one.name for one in dictionary.upkeep.promised(serial)] == sorted(names)


def test_pages_join_without_a_gap(lab: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    where = parse_expression("z >= 0")
    everything = list(lab.search.frames(where))
    monkeypatch.setattr(search, "PAGE", 3)
    monkeypatch.setattr(search, "DATASET_PAGE", 1)
    assert list(lab.search.frames(where)) == everything
    assert len(list(lab.search.datasets(parse_expression("not z = 99")))) == 3


def test_a_dataset_that_goes_meanwhile_is_left_out(
    lab: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 3)
    frames = lab.search.frames(parse_expression("z >= 0"))
    assert next(frames).serial == ONE
    lab.begin_delete(TWO, token="me")
    assert {one.serial for one in frames} == {ONE}


def test_what_files_hold_is_found_by_their_dataset(lab: Catalog) -> None:
    where = parse_expression("leica")
    assert [one.serial for one in lab.search.datasets(where)] == [ONE, THREE]
    assert lab.search.count_datasets(where) == 2
    assert not list(lab.search.datasets(parse_expression("type = file and z >= 0")))
    assert {one.serial for one in lab.datasets(DatasetQuery(where=where, project="isp"))} == {
        ONE,
        THREE,
    }
    assert lab.count_datasets(DatasetQuery(where=where)) == 2


@pytest.mark.parametrize("word", ["[", "]", ",", '"', '["', '", "', "null", "\\\\"])
def test_free_text_is_not_found_in_how_lists_are_written(lab: Catalog, word: str) -> None:
    where = parse_expression("'" + word + "'")
    assert not list(lab.search.datasets(where))
    assert not list(lab.search.frames(where))


def test_free_text_is_found_in_each_name_of_a_list(catalog: Catalog) -> None:
    names = ('a "b"', None, "T\u00fcr\t1", "[x], y")
    acquired = acquisition(1, channel_names=names, position_names=("A1", "B2"))
    store(catalog, [frame()], ONE, acquisition=acquired)
    for query in ("'A \"B'", "T\u00fcR", "'[x], '", "b2"):
        assert catalog.search.count_datasets(parse_expression(query)) == 1, query
    for query in ("'A1\", '", "'B2 '", "'a1 b2'"):
        assert catalog.search.count_datasets(parse_expression(query)) == 0, query


def test_letters_from_a_to_z_fold_alike_in_turkish_too(postgres_server: PostgresServer) -> None:
    settings = postgres_server.create_in_locale("tr")
    with Catalog.open(settings, create=True) as catalog:
        store(catalog, [frame()], ONE, description="TITRATION")
        assert catalog.search.count_datasets(parse_expression("titration")) == 1
    postgres_server.drop(settings)


def test_keys_of_bytes_that_are_no_text_are_asked_as_they_are_kept(catalog: Catalog) -> None:
    unclean = os.fsdecode(b"\xff")
    store(catalog, [frame(metadata={f"a{unclean}": 1, f'q"{unclean}': 2})], ONE)
    for query in (f"meta.a{unclean} = 1", f"meta.'q\"{unclean}' = 2", f"meta.b{unclean} is null"):
        assert catalog.search.count_frames(parse_expression(query)) == 1, query
    assert catalog.json_indexes.make(f"meta.a{unclean}")
    assert not catalog.json_indexes.make("meta.a\ufffd")


def test_the_longest_pattern_and_path_can_be_asked(lab: Catalog) -> None:
    for pattern in (
        "[" * (LONGEST_PATTERN // 3) + "*",
        "\u00e9" * (LONGEST_PATTERN // 2 - 1) + "*",
    ):
        assert lab.search.count_frames(parse_expression(f'channel = "{pattern}"')) == 0
    for steps in (".a" * MOST_PARTS, ".a" + "[0]" * (MOST_PARTS - 1)):
        assert lab.search.count_frames(parse_expression(f"meta{steps} = 1")) == 0
        assert lab.search.count_frames(parse_expression(f"meta{steps} is null")) == 16
        assert lab.json_indexes.make(f"meta{steps}")


@pytest.mark.parametrize(
    "query", ["meta.l[1] = 2", "meta.l[2].x = 3", "meta.l[2].'y\"z'[0] = 4", "meta.b.l[1] = 5"]
)
def test_places_in_lists_are_followed(catalog: Catalog, query: str) -> None:
    inner = {"b": {"l": [0, 5]}}
    held = {"l": [1, 2, {"x": 3, 'y"z': [4]}], "MicroManagerMetadata": inner}
    store(catalog, [frame(metadata=held)], ONE)
    assert catalog.search.count_frames(parse_expression(query)) == 1


def test_the_amount_of_a_selection(lab: Catalog) -> None:
    where = parse_expression("z = first")
    assert lab.search.amount(ONE, FrameSelection(where=where)) == (4, 4 * 3_700_000)
    assert lab.search.amount(ONE, FrameSelection.of(1, where=where)) == (2, 2 * 3_700_000)
    assert lab.search.amount(THREE, FrameSelection()) == (1, 10)


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE frames; --", "%", "_", "\\", '"', "%s", ":x", "🔬", "\x7f"]
)
def test_hostile_texts_are_only_texts(lab: Catalog, text: str) -> None:
    word = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for query in (
        f"microscope = {word}",
        f"meta.{word} = {word}",
        f"note.{word} = {word}",
        f"meta.x ~ {word}",
    ):
        assert lab.search.count_frames(parse_expression(query)) == 0
    assert lab.search.count_frames(parse_expression(f"meta.{word} is null")) == 16


@pytest.mark.parametrize(
    "query",
    ["z > 1000000000000", "z = 1000000000000:", "bytes = 9223372036854775807", "slices < -9e300"],
)
def test_numbers_that_no_column_holds_find_nothing(lab: Catalog, query: str) -> None:
    assert lab.search.count_frames(parse_expression(query)) == 0


def test_the_largest_query_can_be_asked(lab: Catalog) -> None:
    deep = (
        "(" * 49 + " or ".join(f"z = {n}:{n + 2} and meta.x = {n}" for n in range(130)) + ")" * 49
    )
    assert lab.search.count_frames(parse_expression(deep)) == 0
    wide = parse_expression("sha256 in (" + ", ".join(f"{n:04d}" for n in range(8000)) + ")")
    assert lab.search.count_frames(wide) == 0


@pytest.mark.parametrize(
    "values", ["bytes = 7", "meta.x = 7", "meta.x != a", "acquired = 2024", "z = mid", "z = 0:2"]
)
def test_lists_are_as_long_as_both_databases_can_take(lab: Catalog, values: str) -> None:
    last = values.rpartition(" ")[2]
    longest = values + f", {last}" * 399
    assert lab.search.count_frames(parse_expression(longest)) == lab.search.count_frames(
        parse_expression(values)
    )
    with pytest.raises(UsageError, match="more than 400 conditions"):
        parse_expression(f"{longest}, {last}")


def test_names_and_single_indices_may_be_thousands(lab: Catalog) -> None:
    numbers = ", ".join(map(str, range(5000)))
    assert lab.search.count_frames(parse_expression(f"z = {numbers}")) == 16
    assert lab.search.count_frames(parse_expression(f"channel = {numbers}")) == 0


def test_an_index_of_metadata_is_made_listed_and_dropped(lab: Catalog) -> None:
    indexes = lab.json_indexes
    assert indexes.make("meta.Exposure-ms") and not indexes.make("meta.Exposure-ms")
    assert indexes.make('global."a b"[0]') and indexes.make("dataset.x")
    assert indexes.paths() == ["dataset.x", 'global."a b"[0]', "meta.Exposure-ms"]
    assert schema.check(lab._transactions.settings) == []
    claim = lab.claim(draft("ISP-2018-06-08-15-45-00-0077", 2), token="me")
    long = [
        frame(metadata={"Exposure-ms": "x" * 9000}),
        frame(1, metadata={"Exposure-ms": [1, {}]}),
    ]
    lab.add_frames(claim, long)  # whatever is there, an index must not refuse it
    lab.publish(claim)
    assert lab.search.count_frames(parse_expression("meta.Exposure-ms = 12.5")) == 16
    assert lab.search.count_frames(parse_expression(f"meta.Exposure-ms = {'x' * 9000}")) == 1
    assert indexes.drop("meta.Exposure-ms") and not indexes.drop("meta.Exposure-ms")
    assert indexes.paths() == ["dataset.x", 'global."a b"[0]']


@pytest.mark.parametrize("path", ["z", "note.a", "meta", "meta.a = 1", "nonsense"])
def test_only_paths_into_metadata_are_indexed(lab: Catalog, path: str) -> None:
    with pytest.raises(UsageError):
        lab.json_indexes.make(path)
