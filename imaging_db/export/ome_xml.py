"""OME-XML 2016-06 of the images in one OME-TIFF file: names, sizes, units, and where the planes lie.

What is not known is left out: a pixel size that is absent is unknown, one that is written is known.
Source: the OME schema 2016-06 and the OME-TIFF specification (ome-model documentation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from xml.etree.ElementTree import Element, SubElement, tostring

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
DIMENSION_ORDER = "XYZCT"
"""Slices run fastest, then channels, then timepoints: readers show such a file as T C Z Y X."""

_SCHEMA = f"{NAMESPACE} {NAMESPACE}/ome.xsd"
_PIXEL_TYPES: Mapping[str, str] = {
    "bool": "uint8",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "float32": "float",
    "float64": "double",
    "complex64": "complex",
    "complex128": "double-complex",
}
# What XML 1.0 cannot hold, not even escaped.
_UNSPEAKABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class OmePlane:
    """What is known of one plane, its place counted from 0 in the file; None where it is not known.

    Times are in seconds, positions of the stage in micrometres.
    """

    channel: int
    slice: int
    timepoint: int
    delta_t_s: float | None = None
    exposure_s: float | None = None
    x_um: float | None = None
    y_um: float | None = None
    z_um: float | None = None

    @property
    def tells_something(self) -> bool:
        """True where anything but its place is known."""
        known = (self.delta_t_s, self.exposure_s, self.x_um, self.y_um, self.z_um)
        return any(value is not None for value in known)


@dataclass(frozen=True, slots=True)
class OmeChannel:
    """One channel: its name, None where it has none, and the colour that viewers give it."""

    name: str | None
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class OmeImage:
    """One Image: a position of the dataset, with all its channels, slices and timepoints.

    ``samples`` is 3 for colour. Sizes are in micrometres and seconds, None where they are not known.
    """

    name: str
    width: int
    height: int
    slices: int
    timepoints: int
    samples: int
    dtype: str
    channels: tuple[OmeChannel, ...]
    position_name: str | None = None
    pixel_size_x_um: float | None = None
    pixel_size_y_um: float | None = None
    z_step_um: float | None = None
    time_interval_s: float | None = None
    planes: tuple[OmePlane, ...] = ()

    @property
    def plane_count(self) -> int:
        """Return how many pages of the file this image takes."""
        return len(self.channels) * self.slices * self.timepoints


@dataclass(frozen=True, slots=True)
class OmeFile:
    """One OME-TIFF file: its images in the order of their pages, and what is told of all of them.

    ``uuid`` is plain, such as ``"8b9c..."``. ``notes`` become key-value pairs (a MapAnnotation).
    """

    name: str
    uuid: str
    creator: str
    images: tuple[OmeImage, ...]
    description: str | None = None
    acquired_at: datetime | None = None
    notes: tuple[tuple[str, str], ...] = field(default=())


def pixel_type(dtype: str) -> str | None:
    """Return OME's name of a NumPy type, None where OME has none; bool is kept as uint8, 0 and 1."""
    return _PIXEL_TYPES.get(dtype)


def ome_xml(file: OmeFile) -> bytes:
    """Return the OME-XML of a file, UTF-8, the same bytes for the same file."""
    root = Element(
        "OME",
        {
            "xmlns": NAMESPACE,
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": _SCHEMA,
            "UUID": f"urn:uuid:{file.uuid}",
            "Creator": _clean(file.creator),
        },
    )
    first_page = 0
    for index, image in enumerate(file.images):
        _add_image(root, file, image, index=index, first_page=first_page)
        first_page += image.plane_count
    if file.notes:
        _add_notes(root, file.notes)
    return bytes(tostring(root, encoding="UTF-8", xml_declaration=True))


def _add_image(
    root: Element, file: OmeFile, image: OmeImage, *, index: int, first_page: int
) -> None:
    element = SubElement(root, "Image", {"ID": f"Image:{index}", "Name": _clean(image.name)})
    if file.acquired_at is not None:
        time = file.acquired_at.replace(tzinfo=None).isoformat(timespec="seconds")
        SubElement(element, "AcquisitionDate").text = f"{time}Z"
    if file.description:
        SubElement(element, "Description").text = _clean(file.description)
    if image.position_name:
        SubElement(element, "StageLabel", {"Name": _clean(image.position_name)})
    pixels = SubElement(element, "Pixels", _pixels(image, index))
    for number, channel in enumerate(image.channels):
        SubElement(pixels, "Channel", _channel(channel, f"Channel:{index}:{number}", image.samples))
    place = {"IFD": str(first_page), "PlaneCount": str(image.plane_count)}
    own = SubElement(SubElement(pixels, "TiffData", place), "UUID", {"FileName": _clean(file.name)})
    own.text = f"urn:uuid:{file.uuid}"
    for plane in image.planes:
        if plane.tells_something:
            SubElement(pixels, "Plane", _plane(plane))
    if file.notes:
        SubElement(element, "AnnotationRef", {"ID": "Annotation:0"})


def _pixels(image: OmeImage, index: int) -> dict[str, str]:
    kind = pixel_type(image.dtype)
    if kind is None:
        raise ValueError(f"OME has no pixel type for {image.dtype}")
    found = {
        "ID": f"Pixels:{index}",
        "DimensionOrder": DIMENSION_ORDER,
        "Type": kind,
        "BigEndian": "false",
        "SizeX": str(image.width),
        "SizeY": str(image.height),
        "SizeZ": str(image.slices),
        "SizeC": str(len(image.channels) * image.samples),
        "SizeT": str(image.timepoints),
    }
    if image.samples > 1:
        found["Interleaved"] = "true"
    sizes = (image.pixel_size_x_um, image.pixel_size_y_um, image.z_step_um)
    for axis, size in zip("XYZ", sizes, strict=True):
        if size is not None and size > 0:
            found[f"PhysicalSize{axis}"] = repr(float(size))
            found[f"PhysicalSize{axis}Unit"] = "µm"
    if image.time_interval_s is not None:
        found["TimeIncrement"] = repr(float(image.time_interval_s))
        found["TimeIncrementUnit"] = "s"
    return found


def _channel(channel: OmeChannel, identity: str, samples: int) -> dict[str, str]:
    found = {"ID": identity, "SamplesPerPixel": str(samples)}
    if channel.name:
        found["Name"] = _clean(channel.name)
    if samples == 1:  # colours of their own have no colour to be shown in
        found["Color"] = str(signed_rgba(channel.color))
    return found


def signed_rgba(color: tuple[int, int, int]) -> int:
    """Return an opaque colour as OME writes it: red, green, blue, alpha in one signed 32-bit number."""
    red, green, blue = color
    number = red << 24 | green << 16 | blue << 8 | 0xFF
    return number - 2**32 if number >= 2**31 else number


def _plane(plane: OmePlane) -> dict[str, str]:
    found = {
        "TheZ": str(plane.slice),
        "TheT": str(plane.timepoint),
        "TheC": str(plane.channel),
    }
    for name, value, unit in (
        ("DeltaT", plane.delta_t_s, "s"),
        ("ExposureTime", plane.exposure_s, "s"),
        ("PositionX", plane.x_um, "µm"),
        ("PositionY", plane.y_um, "µm"),
        ("PositionZ", plane.z_um, "µm"),
    ):
        if value is not None:
            found[name], found[f"{name}Unit"] = f"{value:.12g}", unit
    return found


def _add_notes(root: Element, notes: Iterable[tuple[str, str]]) -> None:
    annotation = SubElement(
        SubElement(root, "StructuredAnnotations"),
        "MapAnnotation",
        {"ID": "Annotation:0", "Namespace": "imaging_db"},
    )
    value = SubElement(annotation, "Value")
    for key, text in notes:
        SubElement(value, "M", {"K": _clean(key)}).text = _clean(text)


def _clean(text: str) -> str:
    return _UNSPEAKABLE.sub("\ufffd", text)
