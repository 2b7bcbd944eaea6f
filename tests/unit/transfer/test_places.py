"""FramePlaces: the first frame that lies where another does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imaging_db.model import FrameCoords
from imaging_db.transfer.places import FramePlaces


def repeated(coords: list[FrameCoords]) -> tuple[int, int] | None:
    places = FramePlaces()
    for place in coords:
        places.add(place)
    return places.first_repeated()


def test_different_places_are_let_pass() -> None:
    assert repeated([]) is None
    assert repeated([FrameCoords(c, z, 0, 0) for c in range(3) for z in range(4)]) is None


def test_the_first_repetition_is_named_with_the_frame_before_it() -> None:
    a, b = FrameCoords(0, 0, 7, 0), FrameCoords(1, 0, 0, 0)
    assert repeated([b, a, FrameCoords(0, 1, 7, 0), a, b]) == (1, 3)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4).map(FrameCoords._make), max_size=30))
def test_any_list_is_judged_as_one_by_one(coords: list[FrameCoords]) -> None:
    seen: dict[FrameCoords, int] = {}
    expected = None
    for number, place in enumerate(coords):
        earlier = seen.setdefault(place, number)
        if earlier != number:
            expected = earlier, number
            break
    assert repeated(coords) == expected
