"""Patterns and the names of Boss configurations: what a name tells, and what would tell two things."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import ConfigError
from imaging_db.readers.grid.names import boss_name, boss_pattern, plane_pattern
from imaging_db.readers.grid.patterns import Pattern
from imaging_db.readers.grid.tile_names import FIELDS

NUMBERS = {"row": 3, "col": 12, "y": 1536, "x": 6144, "z": 7, "t": 2}


def pattern(text: str, **values: str | int) -> Pattern:
    return Pattern.of(text, FIELDS, values)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{z}/{row}_{col}.png", "7/3_12.png"),
        ("{t:03}/{z:04}/{y}/{x}.tif", "002/0007/1536/6144.tif"),
        ("s{z+200:04d}.tif", "s0207.tif"),
        ("s{z-1}.tif", "s6.tif"),
        ("{z:03}{row:02}.png", "00703.png"),
        ("{z:2}.png", "07.png"),
        ("a{{b}}_{z}.png", "a{b}_7.png"),
        ("{z}/{z}_{col}.png", "7/7_12.png"),
    ],
)
def test_names_are_spelled_and_read_back(text: str, name: str) -> None:
    found = pattern(text)
    assert found.name(NUMBERS) == name
    assert found.match(name) == {field: NUMBERS[field] for field in found.fields}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{z}/{row}_{col}_{resolution}.{ft}", "7/3_12_0.png"),  # CATMAID type 1
        ("{resolution}/{z}/{row}_{col}.{ft}", "0/7/3_12.png"),  # type 4
        ("{resolution}/{z}/{row}/{col}.{ft}", "0/7/3/12.png"),  # type 5
    ],
)
def test_the_layouts_of_catmaid_are_patterns(text: str, name: str) -> None:
    assert pattern(text, resolution=0, ft="png").name(NUMBERS) == name


@pytest.mark.parametrize(
    "name", ["07/3_12.png", "7/3_12.PNG", "7/3_12.png.txt", "7/-3_12.png", "x/7/3_12.png", ""]
)
def test_other_names_are_not_taken(name: str) -> None:
    assert pattern("{z}/{row}_{col}.png").match(name) is None


def test_a_name_that_contradicts_itself_is_not_taken() -> None:
    assert pattern("{z}/{z}_{col}.png").match("7/8_1.png") is None


def test_a_number_that_is_too_long_for_its_width_is_no_name() -> None:
    with pytest.raises(ValueError, match="more than 2 digits"):
        pattern("{z:02}{row:02}.png").name({**NUMBERS, "z": 100})
    assert pattern("{z:02}_{row:02}.png").name({**NUMBERS, "z": 100}) == "100_03.png"


def test_a_number_below_zero_is_no_name() -> None:
    with pytest.raises(ValueError, match="below 0"):
        pattern("{z-8}.png").name(NUMBERS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{z}{row}.png", "z and row run into each other"),
        ("{z:03}0{row}.png", "z and row run into each other"),
        ("{zz}.png", "nothing is known of the field 'zz'"),
        ("{z!r}.png", "cannot be read"),
        ("{z:x}.png", "cannot be read"),
        ("{z.real}.png", "cannot be read"),
        ("{}.png", "cannot be read"),
        ("{z.png", "pattern"),
        ("../{z}.png", "does not stay inside its folder"),
        ("a/../../{z}.png", "does not stay inside its folder"),
        ("/data/{z}.png", "does not stay inside its folder"),
        ("C:/data/{z}.png", "does not stay inside its folder"),
        ("", "does not stay inside its folder"),
    ],
)
def test_patterns_that_mean_nothing_or_two_things_are_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pattern(text)


def test_a_value_does_not_lead_out_of_the_folder() -> None:
    with pytest.raises(ConfigError, match="does not stay inside"):
        pattern("{place}/{z}.png", place="..")


PARTS = st.sampled_from(["{z}", "{row:02}", "{col:3}", "{z:04}", "_", "0", "a", "/b"])
SMALL = st.fixed_dictionaries({name: st.integers(0, 1200) for name in ("z", "row", "col")})


@given(st.lists(PARTS, min_size=1, max_size=6), SMALL, SMALL)
def test_two_tiles_never_have_one_name(
    parts: list[str], one: dict[str, int], other: dict[str, int]
) -> None:
    try:
        found = pattern("x" + "".join(parts))
        names = found.name(one), found.name(other)
    except (ConfigError, ValueError):
        return
    told = [{field: numbers[field] for field in found.fields} for numbers in (one, other)]
    assert (names[0] == names[1]) == (told[0] == told[1])
    assert [found.match(name) for name in names] == told


@pytest.mark.parametrize(
    ("base", "index", "name"),
    [
        ("my_base_<>", 2, "my_base_2"),
        ("<o:200>_my_base_<p:4>", 1, "201_my_base_0001"),
        ("a<o:5p:4>", 7, "a0012"),
        ("<p:4o:5>_<p:2>", 7, "<p:4o:5>_07"),
        ("<z:4>_<>", 7, "<z:4>_7"),
        ("<x>_<y>_<z>", 7, "<x>_<y>_<z>"),
        ("<p:2>", 12345, "12345"),
        ("a{b}<>", 0, "a{b}0"),
        ("no token", 5, "no token"),
    ],
)
def test_boss_names_follow_their_tokens_and_leave_the_rest(
    base: str, index: int, name: str
) -> None:
    assert boss_name(base, index) == name
    assert Pattern.of(boss_pattern(base, "z"), FIELDS).name({"z": index}) == name


def test_names_of_a_boss_stack_may_tell_tile_and_slice() -> None:
    text = plane_pattern("<p:4>_<x>_<y>_<z>")
    assert text == "{z:04}_{col}_{row}_{z}"
    assert pattern(text).name(NUMBERS) == "0007_12_3_7"
