"""Questions to a catalog: which datasets, which frames; over SQLite and over PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imaging_db.catalog import Catalog
from imaging_db.errors import DatasetNotFound, UsageError
from imaging_db.model import (
    DatasetQuery,
    FrameCoords,
    FrameSelection,
    IndexRange,
    StoredFrame,
    UploadType,
)
from tests.support.catalog_rows import (
    SERIAL,
    acquisition,
    coords_of,
    digest,
    draft,
    file,
    frame,
    grid,
    store,
    store_files,
)

HOSTILE = [
    "'; DROP TABLE frames; --",
    "%",
    "_",
    "\\",
    "' OR '1'='1",
    '"',
    "\x00",
    "%s",
    "%(x)s",
    ":name",
    "?",
    "\ud800",
    "🔬",
    "x" * 100_000,
]


@pytest.fixture
def lab(catalog: Catalog) -> Catalog:
    """A catalog with a few datasets of a small lab, and an upload that has not finished."""
    store(
        catalog,
        [frame(channel_name="GFP")],
        "ISP-2018-06-08-15-45-00-0001",
        description="Zebrafish 100% confluent",
        microscope="Leica SP8",
        acquisition=acquisition(
            channel_names=("GFP",), metadata={"Objective": 'Plan "Apo" 63x, Öl'}
        ),
    )
    store(
        catalog,
        [frame()],
        "ISP-2018-06-09-00-00-00-0002",
        description="ÄRZTE_one",
        microscope="Nikon",
        parent_serial="ISP-2018-06-08-15-45-00-0001",
        acquisition=acquisition(format="tif_folder"),
    )
    store_files(
        catalog,
        [file("a.czi")],
        "ML-2019-01-01-23-59-59-0001",
        description="ärzteXone",
        metadata={"plate": "P_7"},
    )
    catalog.claim(draft("ML-2019-02-01-00-00-00-0009"), token="unfinished")
    return catalog


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ({}, "1 2 1"),
        ({"project": "isp"}, "1 2"),
        ({"project": "-0002"}, "2"),
        ({"microscope": "LEICA"}, "1"),
        ({"description": "100%"}, "1"),
        ({"description": "0% C"}, "1"),
        ({"description": "E_one"}, "2"),
        ({"start_date": date(2018, 6, 9)}, "2 1"),
        ({"end_date": date(2018, 6, 8)}, "1"),
        ({"start_date": date(2018, 6, 8), "end_date": date(2018, 6, 9)}, "1 2"),
        ({"end_date": date.max, "start_date": date.min}, "1 2 1"),
        ({"parent": "ISP-2018-06-08-15-45-00-0001"}, "2"),
        ({"parent": "ISP"}, ""),
        ({"format": "tif_folder"}, "2"),
        ({"upload_type": UploadType.FILE}, "1"),
        ({"upload_type": UploadType.FRAMES, "microscope": "nikon"}, "2"),
        ({"text": "gfp"}, "1"),
        ({"text": 'Plan "Apo" 63x, Öl'}, "1"),
        ({"text": "P_7"}, "1"),
        ({"text": "sp8"}, "1"),
        ({"text": "2019-01"}, "1"),
        ({"text": "zebrafish"}, "1"),
        ({"text": "0009"}, ""),
        ({"text": "Z_brafish"}, ""),
    ],
    ids=str,
)
def test_questions(lab: Catalog, question: dict[str, Any], numbers: str) -> None:
    query = DatasetQuery(**question)
    found = [int(one.serial[-1]) for one in lab.datasets(query)]
    assert found == [int(n) for n in numbers.split()]
    assert lab.count_datasets(query) == len(found)


def test_case_beyond_ascii(catalog: Catalog) -> None:
    """SQLite folds all of Unicode; PostgreSQL what its locale does, which in the C locale is ASCII."""
    store(catalog, [frame()], description="ÄRZTE")
    assert catalog.count_datasets(DatasetQuery(description="Ärzte")) == 1
    folded = catalog.count_datasets(DatasetQuery(description="ärzte"))
    assert folded == (1 if catalog.address.startswith("sqlite") else 0)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_hostile_words_find_only_themselves(lab: Catalog, text: str) -> None:
    question: dict[str, Any]
    expected = {"%": 1, "_": 1}.get(text, 0)
    for field in ("project", "microscope", "description"):
        question = {field: text}
        found = lab.count_datasets(DatasetQuery(**question))
        assert found == (expected if field == "description" else 0)
    lab.count_datasets(DatasetQuery(text=text, parent=text, format=text))
    with pytest.raises(DatasetNotFound):
        lab.dataset(text)
    names = FrameSelection(channel_names=(text,))
    assert lab.count_frames("ISP-2018-06-08-15-45-00-0001", names) == 0
    assert lab.count_datasets() == 3


def test_pages_are_joined_without_gap_or_repetition(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imaging_db.catalog.datasets.PAGE", 3)
    for number in range(10):
        day = 1 + number % 4
        store(catalog, [frame()], f"P-2020-01-{day:02d}-00-00-00-{number:04d}")
    store(catalog, [frame()], "odd~1", acquired_at=None)
    store(catalog, [frame()], "odd~2", acquired_at=None)
    by_serial = [one.serial for one in catalog.datasets()]
    assert by_serial == sorted(by_serial) and len(set(by_serial)) == 12
    by_time = list(catalog.datasets(order="acquired_at"))
    assert {one.serial for one in by_time} == set(by_serial) and len(by_time) == 12
    times = [one.acquired_at for one in by_time[:10] if one.acquired_at]
    assert times == sorted(times) and len(times) == 10
    assert [one.serial for one in by_time[10:]] == ["odd~1", "odd~2"]


def test_a_serial_that_is_nearly_right(lab: Catalog) -> None:
    with pytest.raises(DatasetNotFound) as missing:
        lab.dataset("ISP-2018-06-08-15-45-00-0010")
    assert missing.value.nearest[0] == "ISP-2018-06-08-15-45-00-0001"
    assert "did you mean ISP-2018-06-08-15-45-00-0001" in str(missing.value)


def test_channels_by_index(catalog: Catalog) -> None:
    frames = [
        frame(c, z, channel_name=name) for c, name in ((4, "GFP"), (0, None)) for z in range(3)
    ]
    store(catalog, frames)
    assert catalog.channels(SERIAL) == [(0, None), (4, "GFP")]


def test_frames_are_ordered_by_number_not_by_letter(catalog: Catalog) -> None:
    store(catalog, [frame(z=z) for z in (1000, 999, 2, 10)])
    assert [one.coords.slice for one in catalog.frames(SERIAL)] == [2, 10, 999, 1000]


def test_a_selection_with_too_many_ranges_is_refused(catalog: Catalog) -> None:
    store(catalog, [frame()])
    ranges = tuple(IndexRange(n, n + 2) for n in range(0, 2000, 3))
    with pytest.raises(UsageError, match=r"667 ranges of slices .* such as 0:100:5"):
        catalog.count_frames(SERIAL, FrameSelection(slices=ranges))


def test_thousands_of_single_indices_are_fine(catalog: Catalog) -> None:
    store(catalog, [frame(z=7)])
    single = tuple(IndexRange(n, n + 1) for n in range(7000))
    assert catalog.count_frames(SERIAL, FrameSelection(slices=single, timepoints=single)) == 1


# --- selections against a plain filter in Python

SIZES = (3, 5, 4, 4)
NAMES = ("GFP", "DAPI", "é %_\\'")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full_catalog(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Catalog]:
    """One acquisition on a full grid, shared by all examples, beside another that must not show."""
    from imaging_db.config.settings import DatabaseSettings

    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("full") / "catalog.sqlite"
        where = DatabaseSettings("sqlite", str(path))
    else:
        where = request.getfixturevalue("postgres_server").create()
    with Catalog.open(where, create=True) as catalog:
        store(catalog, _full())
        store(catalog, grid(2, 2, 2, 2), "OTHER-2018-06-08-15-45-00-0001")
        yield catalog
    if request.param != "sqlite":
        request.getfixturevalue("postgres_server").drop(where)


def _full() -> list[StoredFrame]:
    frames = grid(*SIZES)
    return [frame(*one.coords, channel_name=NAMES[one.coords.channel]) for one in reversed(frames)]


ranges = st.builds(
    lambda start, length, step: IndexRange(start, None if length is None else start + length, step),
    st.integers(0, 6),
    st.one_of(st.none(), st.integers(1, 6)),
    st.integers(1, 4),
)
axes = st.one_of(st.none(), st.lists(ranges, min_size=1, max_size=4).map(tuple))
names = st.one_of(
    st.none(), st.lists(st.sampled_from((*NAMES, "gfp", "none")), min_size=1).map(tuple)
)


def _means(selection: FrameSelection, one: StoredFrame) -> bool:
    chosen = (selection.channels, selection.slices, selection.timepoints, selection.positions)
    by_index = all(
        axis is None or any(index in part for part in axis)
        for axis, index in zip(chosen, one.coords, strict=True)
    )
    by_name = selection.channel_names is None or one.channel_name in selection.channel_names
    return by_index and by_name


@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(channels=axes, slices=axes, timepoints=axes, positions=axes, channel_names=names)
def test_a_selection_means_what_a_filter_means(
    full_catalog: Catalog,
    channels: tuple[IndexRange, ...] | None,
    slices: tuple[IndexRange, ...] | None,
    timepoints: tuple[IndexRange, ...] | None,
    positions: tuple[IndexRange, ...] | None,
    channel_names: tuple[str, ...] | None,
) -> None:
    selection = FrameSelection(
        channels=None if channel_names else channels,
        channel_names=channel_names,
        slices=slices,
        timepoints=timepoints,
        positions=positions,
    )
    expected = sorted(one.coords for one in _full() if _means(selection, one))
    assert coords_of(full_catalog.frames(SERIAL, selection)) == expected
    assert full_catalog.count_frames(SERIAL, selection) == len(expected)


FAR = 2**31 - 1
SELECTIONS = [
    FrameSelection(channels=(IndexRange(1, 2),), slices=(IndexRange(0, None, 3),)),
    FrameSelection(channel_names=("GFP",), timepoints=(IndexRange(1, None, 2), IndexRange(0, 1))),
    FrameSelection(slices=(IndexRange(1, 3),), positions=(IndexRange(2, 9),)),
    FrameSelection(timepoints=(IndexRange(3, 4),)),
    FrameSelection(positions=(IndexRange(7, None),)),
]


@pytest.mark.parametrize(
    "limit", ["selections._MOST_FRAMES", "selections._MOST_PLACES", "extent._MOST_STEPS"]
)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_selection_means_the_same_whichever_way_it_is_found(
    full_catalog: Catalog, selection: FrameSelection, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few frames are looked up one by one, many along an index; the extent may be unknown."""
    expected = sorted(one.coords for one in _full() if _means(selection, one))
    assert coords_of(full_catalog.frames(SERIAL, selection)) == expected
    monkeypatch.setattr(f"imaging_db.catalog.{limit}", 0)
    assert coords_of(full_catalog.frames(SERIAL, selection)) == expected
    assert full_catalog.count_frames(SERIAL, selection) == len(expected)


@pytest.mark.parametrize(
    ("slices", "found"), [("0", [0]), ("5:", [FAR]), (f"{FAR - 9}::3", [FAR]), ("1::2", [FAR])]
)
def test_frames_that_lie_far_apart(catalog: Catalog, slices: str, found: list[int]) -> None:
    store(catalog, [frame(), frame(z=FAR), frame(t=FAR), frame(p=FAR), frame(c=FAR)])
    selection = FrameSelection.from_text(
        ["0"], slices=[slices], timepoints=["0"], positions=["0:100"]
    )
    assert [one.slice for one in coords_of(catalog.frames(SERIAL, selection))] == found
    assert catalog.count_frames(SERIAL, selection) == 1


@pytest.mark.parametrize("page", [1, 2, 7, 1000])
def test_pages_of_frames(full_catalog: Catalog, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging_db.catalog.frames.PAGE", page)
    selection = FrameSelection.from_text(["0", "2"], slices=["::2"], timepoints=["1:"])
    expected = sorted(one.coords for one in _full() if _means(selection, one))
    assert coords_of(full_catalog.frames(SERIAL, selection, with_metadata=False)) == expected


def test_files_in_pages(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging_db.catalog.frames.PAGE", 2)
    names_there = [f"{folder}/{n}.tif" for folder in ("a", "B", "ä") for n in range(3)]
    store_files(catalog, [file(name) for name in names_there])
    assert sorted(one.name for one in catalog.files(SERIAL)) == sorted(names_there)


def test_what_is_pending_tells_who_and_how_far(catalog: Catalog) -> None:
    claim = catalog.claim(draft(nbr_objects=5), token="host/42")
    catalog.add_frames(claim, [frame(0), frame(1)])
    store(catalog, [frame()], "Z-2018-06-08-15-45-00-0001")
    (found,) = catalog.pending()
    assert (found.dataset.serial, found.owner, found.stored) == (SERIAL, "host/42", 2)
    assert found.dataset.nbr_objects == 5
    assert found.seconds_ago is not None and -1 < found.seconds_ago < 10
    catalog.release(claim)
    assert [(one.owner, one.seconds_ago) for one in catalog.pending()] == [(None, None)]


def test_coordinates_as_their_names_say(catalog: Catalog) -> None:
    store(catalog, [frame(c=1, z=2, t=3, p=4)])
    assert catalog.frames(SERIAL).__next__().coords == FrameCoords(1, 2, 3, 4)
    found = FrameSelection.from_text(["1"], slices=["2"], timepoints=["3"], positions=["4"])
    assert catalog.count_frames(SERIAL, found) == 1
    swapped = FrameSelection.from_text(["1"], slices=["3"], timepoints=["2"], positions=["4"])
    assert catalog.count_frames(SERIAL, swapped) == 0


def test_a_fingerprint_that_is_no_hash_is_refused(catalog: Catalog) -> None:
    from imaging_db.errors import Conflict

    with pytest.raises(Conflict, match="fingerprint"):
        catalog.claim(draft(fingerprint=digest("x").upper()), token="me")
