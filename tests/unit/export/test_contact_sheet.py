"""Which frames of a dataset a contact sheet shows."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from imaging_db.export.contact_sheet import Place, chosen_places


def table(positions: int, timepoints: int, slices: int) -> pd.DataFrame:
    rows = product(range(positions), range(timepoints), range(slices))
    return pd.DataFrame(rows, columns=["pos_idx", "time_idx", "slice_idx"])


def test_a_time_lapse_is_shown_from_its_first_to_its_last_at_the_middle_slice() -> None:
    found = chosen_places(table(1, 1000, 5), 9)
    assert found[0] == Place(0, 0, 2)
    assert found[-1] == Place(0, 999, 2)
    assert len(found) == 9


def test_a_stack_is_shown_in_slices_around_the_middle() -> None:
    assert [one.slice for one in chosen_places(table(1, 1, 30), 5)] == [3, 9, 15, 21, 27]
    assert [one.slice for one in chosen_places(table(1, 1, 3), 48)] == [0, 1, 2]


def test_slices_beside_the_middle_are_shown_only_where_there_is_room() -> None:
    assert {one.slice for one in chosen_places(table(1, 12, 5), 24)} == {2}
    assert {one.slice for one in chosen_places(table(1, 4, 5), 24)} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 7, 2), (40, 40, 40), (1, 2, 500), (96, 1, 1)])
@pytest.mark.parametrize("most", [8, 24, 48])
def test_never_more_than_there_is_room_for_and_never_twice(
    sizes: tuple[int, int, int], most: int
) -> None:
    found = chosen_places(table(*sizes), most)
    assert 1 <= len(found) <= most
    assert len(set(found)) == len(found)
