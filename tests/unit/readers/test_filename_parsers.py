"""How file names tell coordinates: the parsers of configs, and names that need no configuration."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaging_db.errors import UnknownPlugin
from imaging_db.model import FrameCoords
from imaging_db.readers.filename_parsers import (
    ParsedName,
    available_parsers,
    get_parser,
    natural_key,
    parse_idx_from_name,
    parse_ml_name,
    parse_sms_name,
    stem_of,
)
from imaging_db.readers.filename_patterns import parse_folder_names, parse_names
from imaging_db.readers.tif_folder_places import place


def told(parsed: ParsedName) -> dict[str, object]:
    return {key: value for key, value in asdict(parsed).items() if value not in (None, {})}


def test_sms_names_tell_channel_and_indices_in_any_order() -> None:
    expected = {"channel_name": "666_light_sheet", "timepoint": 12, "position": 3, "slice": 4}
    assert told(parse_sms_name("img_666_light_sheet_t012_p003_z004.tif")) == expected
    assert told(parse_sms_name("img_666_light_sheet_z004_t012_p003.TIFF")) == expected


@pytest.mark.parametrize(
    "name",
    ["phase_t000_p000_z000.tif", "img_t000_p000_z000.tif", "img_phase_t000_p000.tif", "img.tif"],
)
def test_sms_refuses_other_names(name: str) -> None:
    with pytest.raises(ValueError, match="img_<channel>_t000_p000_z000"):
        parse_sms_name(name)


def test_sms_refuses_an_axis_that_is_told_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        parse_sms_name("img_phase_t000_t001_z000.tif")


@given(
    channel=st.from_regex(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", fullmatch=True),
    indices=st.tuples(*[st.integers(0, 10**6)] * 3),
    order=st.permutations("tpz"),
)
def test_sms_names_come_back(channel: str, indices: tuple[int, int, int], order: list[str]) -> None:
    numbers = dict(zip("tpz", indices, strict=True))
    name = f"img_{channel}" + "".join(f"_{axis}{numbers[axis]:03d}" for axis in order) + ".tif"
    parsed = parse_sms_name(name)
    assert parsed.channel_name == channel
    assert (parsed.timepoint, parsed.position, parsed.slice) == indices


def test_idx_names_hold_four_numbers() -> None:
    parsed = parse_idx_from_name("img_002_z01_t7_005.tif")
    assert told(parsed) == {
        "channel": 2,
        "slice": 1,
        "timepoint": 7,
        "position": 5,
        "channel_name": "2",
    }


def test_idx_names_in_another_order() -> None:
    parsed = get_parser("parse_idx_from_name:tpzc")("1_2_3_4.tif")
    assert (parsed.timepoint, parsed.position, parsed.slice, parsed.channel) == (1, 2, 3, 4)
    with pytest.raises(ValueError, match="each of c, z, t, p"):
        parse_idx_from_name("1_2_3_4.tif", order="cztt")


@pytest.mark.parametrize("name", ["1_2_3.tif", "1_2_3_4_5.tif", "none.tif"])
def test_idx_refuses_another_count_of_numbers(name: str) -> None:
    with pytest.raises(ValueError, match="instead of four"):
        parse_idx_from_name(name)


def test_ml_names_are_about_the_whole_dataset() -> None:
    parsed = parse_ml_name("plate1_17_CALM2_PyProcessed_IJClean.tif")
    assert parsed.global_metadata == {
        "plate_id": "plate1",
        "stack_nbr": 17,
        "protein_name": "CALM2",
    }
    assert parsed.channel is None
    with pytest.raises(ValueError, match="<plate>_<stack number>_<protein>"):
        parse_ml_name("plate1_CALM2.tif")


def test_an_unknown_parser_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UnknownPlugin) as caught:
        get_parser("parse_nothing")
    assert {"parse_idx_from_name", "parse_ml_name", "parse_sms_name"} <= set(caught.value.available)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed distribution that brings one filename parser and one that cannot be imported."""
    (tmp_path / "lab_names.py").write_text(
        "from imaging_db.readers.filename_parsers import ParsedName\n"
        "def parse(name):\n"
        "    return ParsedName(slice=int(name[0]))\n"
    )
    info = tmp_path / "lab_names-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-names\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[imaging_db.filename_parsers]\nlab = lab_names:parse\nbroken = no_such_module:parse\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return "lab"


def test_installed_packages_bring_parsers(plugin: str) -> None:
    assert plugin in available_parsers()
    assert get_parser(plugin)("7.tif").slice == 7
    with pytest.raises(UnknownPlugin, match="broken"):
        get_parser("broken")


def test_natural_order_counts() -> None:
    names = ["MAX10.tif", "MAX9.tif", "max1.tif", "b.tif", "10.tif", "9.tif"]
    assert sorted(names, key=natural_key) == [
        "9.tif",
        "10.tif",
        "b.tif",
        "max1.tif",
        "MAX9.tif",
        "MAX10.tif",
    ]


@given(st.lists(st.text(max_size=12), max_size=8))
def test_natural_order_never_fails_and_is_total(names: list[str]) -> None:
    assert sorted(names, key=natural_key) == sorted(reversed(names), key=natural_key)


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.ome.tif", "x/a.tif", r"x\a.Ome.Tiff"])
def test_the_stem_has_no_folder_and_no_suffix(name: str) -> None:
    assert stem_of(name) == "a"


# Names that programs give, and what each of them tells.
KNOWN = {
    "img_channel001_position002_time000000003_z004.tif": {
        "channel": 1, "position": 2, "timepoint": 3, "slice": 4},
    "img_000000003_Cy3_004.tif": {"timepoint": 3, "channel_name": "Cy3", "slice": 4},
    "img_000000003__004.tif": {"timepoint": 3, "slice": 4},
    "img_GFP_low_t003_p002_z004.tif": {
        "channel_name": "GFP_low", "timepoint": 3, "position": 2, "slice": 4},
    "leica_stack_Series014_z002_ch01.tif": {"slice": 2, "channel": 1},
    "r02c03f04p05-ch1sk6fk1fl1.tiff": {
        "channel": 1, "slice": 5, "timepoint": 6, "position_name": "row 02, column 03, field 04",
        "metadata": {"row": "02", "column": "03", "field": "04"}},
    "AS_09125_050116030001_D03f00d2.tif": {
        "channel": 2, "position_name": "well D03, field 00",
        "metadata": {"well": "D03", "field": "00"}},
    "Plate_B03_T0001F002L01A01Z04C05.tif": {
        "timepoint": 1, "slice": 4, "channel": 5, "position_name": "well B03, field 002",
        "metadata": {"well": "B03", "field": "002"}},
    "--W00001--P00002--Z00003--T00004--cherry.tif": {
        "slice": 3, "timepoint": 4, "channel_name": "cherry",
        "position_name": "well 00001, field 00002",
        "metadata": {"well": "00001", "field": "00002"}},
    "exp_w2GFP_s3_t4.TIF": {"channel": 2, "channel_name": "GFP", "position": 3, "timepoint": 4},
    "a_c001_z002_t003.tif": {"channel": 1, "slice": 2, "timepoint": 3},
    "exp001t02xy3c4z05.tif": {"timepoint": 2, "position": 3, "channel": 4, "slice": 5},
    "tubhiswt_C1_TP7.ome.tif": {"channel": 1, "timepoint": 7},
    "W0001F0002T0003Z004C5.tif": {
        "timepoint": 3, "slice": 4, "channel": 5, "position_name": "well 0001, field 0002",
        "metadata": {"well": "0001", "field": "0002"}},
    "B - 02(fld 1 wv DAPI - DAPI z 3).tif": {
        "channel_name": "DAPI - DAPI", "slice": 3, "position_name": "row B, column 02, field 1",
        "metadata": {"row": "B", "column": "02", "field": "1"}},
    "s_1_t_2_c_3_z_4.tif": {"position": 1, "timepoint": 2, "channel": 3, "slice": 4},
    "embryo time 12 pos 3.tif": {"timepoint": 12, "position": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_names_of_known_programs(name: str) -> None:
    assert told(parse_names([name])[0]) == KNOWN[name]


def test_a_number_without_label_counts_timepoints() -> None:
    names = ["V1.75f3.1250001.tif", "V1.75f3.1250002.tif", "V1.75f3.1250010.tif"]
    parsed = parse_names(names)
    assert [name.running for name in parsed] == [1250001, 1250002, 1250010]
    assert parsed[0].metadata == {"number": 1250001}
    assert [item.coords.timepoint for item in place(parsed)] == [0, 1, 2]


def test_a_label_and_a_number_in_the_middle() -> None:
    names = [f"C{c}-MAX{n}mitosis.tif" for c in (1, 2) for n in (9, 10)]
    coords = [item.coords for item in place(parse_names(names))]
    assert coords == [FrameCoords(c, 0, t, 0) for c in (1, 2) for t in (0, 1)]


def test_a_text_that_varies_is_the_channel() -> None:
    names = [f"pos{p}_{c}_t{t:03d}.tif" for p in (1, 2) for c in ("DAPI", "GFP") for t in (0, 1)]
    placed = place(parse_names(names))
    assert {(item.coords.channel, item.channel_name) for item in placed} == {
        (0, "DAPI"),
        (1, "GFP"),
    }
    assert {item.coords.position for item in placed} == {1, 2}


def test_wells_are_positions_and_a_lone_c01_is_a_channel() -> None:
    wells = place(parse_names([f"p_{w}_s{s}_w1.tif" for w in ("A01", "C01") for s in (1, 2)]))
    assert [item.position_name for item in wells] == ["A01 1", "A01 2", "C01 1", "C01 2"]
    assert [item.coords.position for item in wells] == [0, 1, 2, 3]
    assert [name.channel for name in parse_names(["p_C01.tif", "p_C02.tif"])] == [1, 2]


@pytest.mark.parametrize(
    ("form", "first", "second"),
    [
        ("x_{}_z0.tif", "r01_c02", "r02_c02"),
        ("x_{}_z0.tif", "row1_col2", "row2_col1"),
        ("x_{}.tif", "x01y02", "x02y02"),
        ("x_{}.tif", "x001_y001", "x002_y001"),
        ("mcf-z-stacks-0321_{}_s1_w1.tif", "a01", "b01"),
        ("leica_{}_z0_ch00.tif", "Series014", "Series015"),
        ("{}_t003.tif", "cell12", "cell7"),
    ],
)
def test_tiles_wells_and_things_are_positions(form: str, first: str, second: str) -> None:
    placed = place(parse_names([form.format(first), form.format(second)]))
    assert [item.coords.position for item in placed] == [0, 1]
    assert {(c.channel, c.timepoint) for c in (item.coords for item in placed)} in (
        {(0, 0)},
        {(1, 0)},
        {(0, 3)},
    )
    names = [str(item.position_name) for item in placed]
    assert [name.split()[0] for name in names] == [x.split("_")[0] for x in (first, second)]


@pytest.mark.parametrize(
    "dyes", [("Cy3", "Cy5"), ("488nm", "561nm"), ("DAPI", "Cy3"), ("AF488", "AF647")]
)
def test_dyes_are_channels_though_only_a_number_differs(dyes: tuple[str, str]) -> None:
    placed = place(parse_names([f"x_{dye}_{n:03d}.tif" for dye in dyes for n in (1, 2)]))
    assert [item.channel_name for item in placed] == [dyes[0], dyes[0], dyes[1], dyes[1]]
    assert [item.coords.timepoint for item in placed] == [0, 1, 0, 1]


def test_identifiers_in_names_are_no_numbers() -> None:
    guid = "F89F55B7-1234-4321-ABCD-01234567890"
    names = [f"p_A01_s1_w{w}{guid}{w}.tif" for w in (1, 2)]
    assert [name.channel for name in parse_names(names)] == [1, 2]


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (["3_5.tif", "3_6.tif", "4_5.tif"], "2 numbers"),
        (["a.tif", "b.tif"], "nothing in common"),
        (["multi_f.tif", "zcyx.tif"], "of 2 forms"),
        (["x_DAPI_a.tif", "x_GFP_b.tif"], "of 2 forms"),
        (["a1_t0.tif", "a2_t0.tif"], "label their timepoint and count"),
        (["c1_DAPI_z0.tif", "c1_GFP_z0.tif"], "several forms"),
        (["c1_DAPI_z0.tif", "c2_DAPI_z0.tif", "c2_GFP_z1.tif"], "several forms"),
    ],
)
def test_names_that_need_a_guess_are_refused(names: list[str], cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        parse_names(names)


def test_channels_may_not_change_their_names() -> None:
    with pytest.raises(ValueError, match="channel 1 is called 'a' and 'b'"):
        place([ParsedName(channel=1, channel_name="a"), ParsedName(channel=1, channel_name="b")])
    with pytest.raises(ValueError, match="some names tell their slice"):
        place([ParsedName(slice=1), ParsedName()])


def test_folders_are_positions_channels_or_nothing() -> None:
    positions = parse_folder_names(["Pos0", "Pos10"])
    assert [(x.position, x.position_name) for x in positions] == [(0, "Pos0"), (10, "Pos10")]
    assert [x.channel for x in parse_folder_names(["channel1", "channel2"])] == [1, 2]
    grid = parse_folder_names(["1-Pos_000_000", "1-Pos_001_000"])
    assert [x.position_name for x in grid] == ["1-Pos_000_000", "1-Pos_001_000"]
    free = parse_folder_names(["control", "drug"])
    assert [(x.position, x.position_name) for x in free] == [(None, "control"), (None, "drug")]
    assert parse_folder_names(["images"]) == [ParsedName()]


_FORMS = [
    "img_channel{c:03d}_position{p:03d}_time{t:09d}_z{z:03d}.tif",
    "x_t{t:04d}_z{z}_ch{c:02d}_s{p}.TIF",
    "exp t{t:02d}xy{p:02d}c{c}z{z:03d}.tif",
    "r{p:02d}c01f01p{z:02d}-ch{c}sk{t}fk1fl1.tiff",
    "img_ch{c}_t{t:03d}_p{p:03d}_z{z:03d}.tif",
]


@given(
    form=st.sampled_from(_FORMS),
    places=st.sets(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=12),
)
def test_labelled_names_are_mapped_one_to_one(
    form: str, places: set[tuple[int, int, int, int]]
) -> None:
    ordered = sorted(places)
    names = [form.format(c=c, z=z, t=t, p=p) for c, z, t, p in ordered]
    found = place(parse_names(names))
    assert len({item.coords for item in found}) == len(places)
    assert [(x.coords.slice, x.coords.timepoint) for x in found] == [
        (z, t) for _, z, t, _ in ordered
    ]


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9_. -]{1,12}\.tif", fullmatch=True), unique=True, max_size=6)
)
def test_any_names_are_placed_or_refused(names: list[str]) -> None:
    try:
        placed = place(parse_names(names))
    except ValueError:
        return
    assert len(placed) == len(names)
