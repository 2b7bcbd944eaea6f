"""OME-XML: what is read of it, through all generations of the schema, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from imaging_db.errors import CorruptSource
from imaging_db.readers.ome_image import OmeImage, images_of
from imaging_db.readers.ome_xml import (
    OmeDocument,
    TiffData,
    looks_like_ome,
    normal_uuid,
    parse_ome_xml,
    root_uuid,
)
from tests.support.ometiff import ome, ome_image, tiff_data

PATH = Path("a.ome.tif")


def parse(text: str) -> OmeDocument:
    return parse_ome_xml(text, PATH)


def only_image(text: str) -> OmeImage:
    (image,) = images_of(parse(text), PATH)
    return image


def test_sizes_names_and_places() -> None:
    channels = '<Channel Name="GFP"/><Channel SamplesPerPixel="1"/>'
    label = '<StageLabel Name="A1"/>'
    text = ome(
        ome_image(tiff_data(0, count=6), c=2, z=3, name="well", channels=channels, inside=label),
        uuid="ABC-1",
    )
    document = parse(text)
    image = only_image(text)
    assert document.uuid == "abc-1"
    assert (image.width, image.height) == (6, 5)
    assert (image.size_c, image.size_z, image.size_t) == (2, 3, 1)
    assert image.channel_names == ("GFP", None)
    assert (image.name, image.stage_label) == ("well", "A1")
    assert image.tiff_data == (TiffData((0, 0, 0), 0, 6, None, None),)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("XYZCT", [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (0, 0, 1)]),
        ("XYZTC", [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0)]),
        ("XYCZT", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 0, 1)]),
        ("XYCTZ", [(0, 0, 0), (1, 0, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0)]),
        ("XYTCZ", [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1), (0, 1, 0)]),
        ("XYTZC", [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0)]),
    ],
)
def test_a_run_of_planes_follows_the_order(
    order: str, expected: list[tuple[int, int, int]]
) -> None:
    image = only_image(ome(ome_image("", c=2, z=2, t=2, order=order)))
    assert list(image.run((0, 0, 0), channels=2, count=5, source=PATH)) == expected
    assert list(image.run(expected[2], channels=2, count=3, source=PATH)) == expected[2:]


def test_a_run_that_leaves_the_image_is_refused() -> None:
    image = only_image(ome(ome_image("", c=2, z=2)))
    with pytest.raises(CorruptSource, match="leave an image of 4 planes"):
        list(image.run((1, 0, 0), channels=2, count=3, source=PATH))
    with pytest.raises(CorruptSource, match="FirstZ=2 is not below SizeZ=2"):
        list(image.run((0, 2, 0), channels=2, count=1, source=PATH))


@pytest.mark.parametrize(
    ("size", "unit", "expected"),
    [
        ("0.325", None, 0.325),
        ("0.325", "\u00b5m", 0.325),
        ("0.325", "\u03bcm", 0.325),
        ("325", "nm", 0.325),
        ("3.25e-4", "mm", 0.325),
        ("3250", "\u00c5", 0.325),
        ("1", "pixel", None),
        ("1", "reference frame", None),
        ("0", None, None),
        ("-1", None, None),
        ("nan", None, None),
        ("inf", None, None),
        ("many", None, None),
        (None, None, None),
    ],
)
def test_physical_sizes_in_micrometres(
    size: str | None, unit: str | None, expected: float | None
) -> None:
    more = "" if size is None else f'PhysicalSizeX="{size}"'
    more += "" if unit is None else f' PhysicalSizeXUnit="{unit}"'
    assert only_image(ome(ome_image("", more=more))).pixel_size_x_um == pytest.approx(expected)


def test_the_time_between_timepoints_in_seconds() -> None:
    more = 'TimeIncrement="500" TimeIncrementUnit="ms"'
    assert only_image(ome(ome_image("", more=more))).time_interval_s == 0.5


def test_the_schema_of_2003() -> None:
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/XMLschemas/OME/FC/ome.xsd">'
        '<Image ID="1" Name="old" PixelSizeX="0.5" PixelSizeZ="2">'
        '<ChannelInfo Name="one" SamplesPerPixel="1"/><ChannelInfo Name="two"/>'
        '<Pixels ID="2" DimensionOrder="XYZCT" PixelType="Uint8" BigEndian="true" '
        'SizeX="6" SizeY="5" SizeZ="1" SizeC="2" SizeT="1">'
        '<TiffData IFD="0" NumPlanes="2"/></Pixels></Image></OME>'
    )
    image = only_image(text)
    assert image.channel_names == ("one", "two")
    assert image.pixel_type == "uint8"
    assert (image.pixel_size_x_um, image.pixel_size_y_um, image.z_step_um) == (0.5, None, 2)
    assert image.tiff_data[0].count == 2


def test_the_schema_of_2008_and_a_prefix() -> None:
    text = (
        '<ome:OME xmlns:ome="http://www.openmicroscopy.org/Schemas/OME/2008-02">'
        '<ome:Image ID="i"><ome:LogicalChannel ID="c" Name="DAPI" SamplesPerPixel="1"/>'
        '<ome:Pixels ID="p" DimensionOrder="XYCZT" PixelType="uint16" SizeX="1" SizeY="1" '
        'SizeC="1" SizeZ="1" SizeT="1" PhysicalSizeX="0.1"><ome:TiffData/></ome:Pixels>'
        "</ome:Image></ome:OME>"
    )
    assert looks_like_ome(text)
    image = only_image(text)
    assert image.channel_names == ("DAPI",)
    assert image.tiff_data == (TiffData((0, 0, 0), None, None, None, None),)


@pytest.mark.parametrize("declared", ["UTF-16", "latin-1", "no-such-encoding"])
def test_a_declaration_that_does_not_hold(declared: str) -> None:
    text = ome(ome_image("", name="\u00b5")).replace("UTF-8", declared)
    assert only_image(text).name == "\u00b5"


def test_plane_elements_are_kept_by_place() -> None:
    plane = '<Plane TheC="0" TheZ="1" TheT="0" DeltaT="2.5" PositionX="7"/>'
    image = only_image(ome(ome_image(plane, z=2)))
    told = {"TheC": "0", "TheZ": "1", "TheT": "0", "DeltaT": "2.5", "PositionX": "7"}
    assert image.plane((0, 1, 0)) == told
    assert image.plane((0, 0, 0)) == {}


def test_where_counting_begins_at_one() -> None:
    pixels = tiff_data(0, c=1, z=1) + tiff_data(1, c=1, z=2) + tiff_data(2, c=1, z=3)
    assert only_image(ome(ome_image(pixels, z=3))).base(1) == (1, 1, 0)
    pixels = tiff_data(0, c=0, z=1) + tiff_data(1, c=0, z=2)
    assert only_image(ome(ome_image(pixels, z=3))).base(1) == (0, 0, 0)


def test_channels_that_are_samples() -> None:
    rgb = only_image(ome(ome_image("", c=3, channels='<Channel SamplesPerPixel="3"/>')))
    assert (rgb.channel_count(3), rgb.channel_count(1)) == (1, 3)
    two = only_image(ome(ome_image("", c=6)))
    assert two.channel_count(3) == 2
    counted_otherwise = only_image(ome(ome_image("", c=1)))
    assert counted_otherwise.channel_count(3) == 1


def test_the_tree_as_json_leaves_bulk_out() -> None:
    more = '<Instrument ID="i"><Objective NominalMagnification="40"/></Instrument>'
    more += "<StructuredAnnotations><XMLAnnotation>much</XMLAnnotation></StructuredAnnotations>"
    value = parse(ome(ome_image(tiff_data(0)), more=more)).root.as_json()
    assert isinstance(value, dict)
    assert value["Instrument"] == [{"ID": "i", "Objective": [{"NominalMagnification": "40"}]}]
    assert "StructuredAnnotations" not in value
    assert "TiffData" not in str(value)


def test_uuids_of_any_spelling() -> None:
    assert normal_uuid(" URN:UUID:aB-c ") == "ab-c"
    assert normal_uuid("") is normal_uuid(None) is None
    assert root_uuid(ome(uuid="X-1")) == "x-1"
    assert root_uuid(ome()) is None


def test_a_document_that_points_at_its_master() -> None:
    document = parse('<OME><BinaryOnly MetadataFile="a.ome.tif" UUID="urn:uuid:M"/></OME>')
    assert document.is_binary_only
    assert (document.metadata_file, document.metadata_uuid) == ("a.ome.tif", "m")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("<OME><Image>", "cannot be parsed"),
        ("<OME>\x01</OME>", "cannot be parsed"),
        ("<HTML/>", "not OME-XML"),
        ("", "cannot be parsed"),
        (ome(ome_image("", x=0)), "SizeX='0' is not a number from 1"),
        (ome(ome_image("").replace('SizeT="1"', "")), "SizeT='' is not a number from 1"),
        (ome(ome_image("").replace('SizeT="1"', 'SizeT="9999999999999"')), "not a number from 1"),
        (ome(ome_image("", order="XYZ")), "DimensionOrder='XYZ'"),
        (ome(ome_image('<TiffData IFD="-1"/>')), "IFD='-1' is not a whole number"),
        (ome(ome_image('<TiffData FirstZ="1e3"/>')), "FirstZ='1e3' is not a whole number"),
        (ome('<Pixels SizeX="1"/>'), "not where they belong"),
    ],
)
def test_what_is_refused(text: str, cause: str) -> None:
    with pytest.raises(CorruptSource, match=cause):
        images_of(parse(text), PATH)


@pytest.mark.fault("I-13", "S4")
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE OME [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE OME SYSTEM "http://localhost:9/ome.dtd">',
    ],
)
def test_entities_and_dtds_are_refused_unread(doctype: str) -> None:
    with pytest.raises(CorruptSource, match="DTD or entities is refused"):
        parse(f"{doctype}<OME>&b;&x;</OME>")


@pytest.mark.fault("I-13")
def test_too_many_elements_are_refused_soon() -> None:
    started = time.process_time()
    with pytest.raises(CorruptSource, match="more than 200000 elements"):
        parse("<OME>" + "<a/>" * 3_000_000 + "</OME>")
    assert time.process_time() - started < 5


def test_deep_nesting_does_no_harm() -> None:
    deep = 5_000
    assert parse("<OME>" + "<ROI>" * deep + "</ROI>" * deep + "</OME>").tiff_data == ()
    with pytest.raises(CorruptSource, match="nested deeper than 40"):
        parse("<OME>" + "<a>" * deep + "</a>" * deep + "</OME>")
