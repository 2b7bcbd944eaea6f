"""One Image of an OME-XML: its sizes, channels and physical sizes, and where its planes lie."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONObject, clean_object
from imaging_db.readers.ome_xml import Node, OmeDocument, Plane, PlaneAttributes, TiffData

_MICROMETRES = {
    "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "\u00b5m": 1.0, "\u03bcm": 1.0, "um": 1.0, "micron": 1.0,
    "nm": 1e-3, "pm": 1e-6, "fm": 1e-9, "\u00c5": 1e-4, "\u212b": 1e-4, "km": 1e9, "in": 25_400.0,
    "ft": 304_800.0, "thou": 25.4, "mil": 25.4, "li": 25_400.0 / 12,
}  # fmt: skip
_SECONDS = {
    "s": 1.0, "ms": 1e-3, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "us": 1e-6, "ns": 1e-9, "ps": 1e-12,
    "min": 60.0, "h": 3600.0, "d": 86_400.0,
}  # fmt: skip
_WHOLE = re.compile(r"[0-9]{1,10}")
_ORDERS = {"XYZCT", "XYZTC", "XYCTZ", "XYCZT", "XYTCZ", "XYTZC"}


@dataclass(frozen=True, slots=True)
class OmeImage:
    """What one Pixels element says. Sizes are counts; physical sizes are None where unknown.

    ``size_c`` counts samples, as OME does: an RGB channel counts three.
    """

    index: int
    name: str | None
    stage_label: str | None
    width: int
    height: int
    size_c: int
    size_z: int
    size_t: int
    order: str
    pixel_type: str
    channel_names: tuple[str | None, ...]
    channel_samples: tuple[int, ...]
    pixel_size_x_um: float | None
    pixel_size_y_um: float | None
    z_step_um: float | None
    time_interval_s: float | None
    without_pixels: bool
    tiff_data: tuple[TiffData, ...]
    planes: PlaneAttributes

    def channel_count(self, samples: int) -> int:
        """Return the number of channels, where each of them is stored with ``samples`` a pixel.

        SizeC counts samples. Some writers count channels nevertheless: where SizeC cannot be divided.
        """
        if samples > 1 and self.channel_samples and sum(self.channel_samples) == self.size_c:
            return len(self.channel_samples)
        return self.size_c if self.size_c % samples else self.size_c // samples

    def base(self, channels: int) -> Plane:
        """Return where (channel, slice, timepoint) begin to count: 0, or 1 as some writers do."""
        firsts = [data.first for data in self.tiff_data] or [(0, 0, 0)]
        sizes = (channels, self.size_z, self.size_t)
        ranges = [(min(axis), max(axis)) for axis in zip(*firsts, strict=True)]
        c, z, t = (
            int(low >= 1 and high == size) for (low, high), size in zip(ranges, sizes, strict=True)
        )
        return c, z, t

    def plane(self, place: Plane) -> JSONObject:
        """Return the attributes of a Plane element, empty where there is none."""
        names, values = self.planes.get(place, ((), ()))
        return clean_object(dict(zip(names, values, strict=True)))

    def run(self, start: Plane, *, channels: int, count: int, source: Path) -> Iterator[Plane]:
        """Yield ``count`` planes (channel, slice, timepoint) from ``start`` on, in the image's order.

        Raises
        ------
        CorruptSource
            The run leaves the image.
        """
        sizes = {"C": channels, "Z": self.size_z, "T": self.size_t}
        first = dict(zip("CZT", start, strict=True))
        axes = self.order[2:]
        place = 0
        for axis in reversed(axes):
            if first[axis] >= sizes[axis]:
                cause = f"OME-XML: First{axis}={first[axis]} is not below Size{axis}={sizes[axis]}"
                raise CorruptSource(source, cause)
            place = place * sizes[axis] + first[axis]
        if place + count > math.prod(sizes.values()):
            total = math.prod(sizes.values())
            cause = (
                f"OME-XML: {count} planes from plane {place} on leave an image of {total} planes"
            )
            raise CorruptSource(source, cause)
        for number in range(place, place + count):
            at = {}
            for axis in axes:
                number, at[axis] = divmod(number, sizes[axis])
            yield at["C"], at["Z"], at["T"]


def images_of(document: OmeDocument, source: Path) -> tuple[OmeImage, ...]:
    """Return the images of a document, one for each Pixels element, in its order.

    Raises
    ------
    CorruptSource
        A size is missing or not a number from 1.
    """
    pairs = [(i, p) for i in document.root.all("Image") for p in i.all("Pixels")]
    if len(pairs) != len(document.tiff_data):
        raise CorruptSource(
            source, "OME-XML: its Pixels are not where they belong, inside an Image"
        )
    return tuple(
        _image(number, image, pixels, document, source)
        for number, (image, pixels) in enumerate(pairs)
    )


def _image(index: int, image: Node, pixels: Node, document: OmeDocument, source: Path) -> OmeImage:
    order = pixels.attributes.get("DimensionOrder", "").upper()
    if order not in _ORDERS:
        raise CorruptSource(source, f"OME-XML: DimensionOrder={order!r} is none")
    sizes = {axis: _size(pixels, f"Size{axis}", source) for axis in "XYZCT"}
    old = image.all("LogicalChannel", "ChannelInfo")
    channels = list(pixels.all("Channel")) or list(old)
    label = image.first("StageLabel")
    return OmeImage(
        index=index,
        name=image.attributes.get("Name") or None,
        stage_label=(label.attributes.get("Name") or None) if label else None,
        width=sizes["X"],
        height=sizes["Y"],
        size_c=sizes["C"],
        size_z=sizes["Z"],
        size_t=sizes["T"],
        order=order,
        pixel_type=(
            pixels.attributes.get("Type") or pixels.attributes.get("PixelType") or ""
        ).lower(),
        channel_names=tuple(c.attributes.get("Name") or None for c in channels),
        channel_samples=tuple(_samples(c) for c in channels),
        pixel_size_x_um=_physical("X", pixels, image),
        pixel_size_y_um=_physical("Y", pixels, image),
        z_step_um=_physical("Z", pixels, image),
        time_interval_s=_quantity(pixels, "TimeIncrement", _SECONDS, "s")
        or _quantity(image, "TimeIncrement", _SECONDS, "s"),
        without_pixels=pixels.first("MetadataOnly") is not None,
        tiff_data=document.tiff_data[index],
        planes=document.planes[index],
    )


def _size(pixels: Node, name: str, source: Path) -> int:
    text = pixels.attributes.get(name, "")
    if not _WHOLE.fullmatch(text.strip()) or int(text) < 1:
        raise CorruptSource(source, f"OME-XML: {name}={text!r} is not a number from 1")
    return int(text)


def _samples(channel: Node) -> int:
    text = channel.attributes.get("SamplesPerPixel", "1")
    return max(1, int(text)) if _WHOLE.fullmatch(text.strip()) else 1


def _physical(axis: str, pixels: Node, image: Node) -> float | None:
    """Return a pixel's size in micrometres; schemas before 2007 call it PixelSize, of the Image."""
    new = _quantity(pixels, f"PhysicalSize{axis}", _MICROMETRES, "\u00b5m")
    old = (_quantity(node, f"PixelSize{axis}", _MICROMETRES, "\u00b5m") for node in (pixels, image))
    return next((size for size in (new, *old) if size is not None), None)


def _quantity(node: Node, name: str, units: Mapping[str, float], default: str) -> float | None:
    factor = units.get((node.attributes.get(f"{name}Unit") or default).strip())
    try:
        value = float(node.attributes.get(name, "nan"))
    except ValueError:
        return None
    if factor is None or not math.isfinite(value) or value <= 0:
        return None
    return value * factor
