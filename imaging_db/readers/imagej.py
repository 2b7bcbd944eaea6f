"""What the ImageDescription of a plain TIFF says of its pages: ImageJ's text, and tifffile's JSON.

ImageJ's keys are those of its FileInfo and FileSaver classes (``images``, ``channels``, ``slices``,
``frames``, ``unit``, ``spacing``, ``finterval``); ``positions`` is imagingDB's. tifffile writes
``{"shape": [25, 2, 50, 50], "axes": "ZCYX"}``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imaging_db.model import FrameCoords, JSONObject, JSONValue, clean_object

AXES = "cztp"

_COUNTS = {"c": "channels", "z": "slices", "t": "frames", "p": "positions"}
COUNTS = tuple(_COUNTS.values())
_ORDERS = ("czt", "ctz", "zct", "ztc", "tcz", "tzc")
_LETTERS = {"C": "c", "Z": "z", "T": "t", "P": "p", "R": "p", "M": "p"}
_UNLABELLED = "QI"  # tifffile's letters for an axis of any meaning
_NO_LABEL = "ztp"  # where an axis without label goes: the first of these that is free
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_UM = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("micrometers", "micrometres"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometers", "nanometre", "nanometres"), 1e-3),
    **dict.fromkeys(("å", "angstrom", "angstroms"), 1e-4),
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 1e4),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1e6),
    **dict.fromkeys(("inch", "inches", "in"), 25400.0),
}
_SECONDS = {
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), 1e-3),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
}
# Coarser than this (about 1000 dots an inch) a resolution without unit is a printer's default.
_COARSEST_UM = 25.0
_RESOLUTION_UM = {2: 25400.0, 3: 1e4}


@dataclass(frozen=True, slots=True)
class PageOrder:
    """Which frame each page is: pairs of axis (``c``, ``z``, ``t``, ``p``) and length, fastest first."""

    axes: tuple[tuple[str, int], ...]

    @property
    def count(self) -> int:
        """How many pages the axes promise."""
        return math.prod(length for _, length in self.axes)

    def length(self, axis: str) -> int:
        """Return an axis' length, 1 where it is not there."""
        return dict(self.axes).get(axis, 1)

    def coords(self, page: int) -> FrameCoords:
        """Return where the frame of a page lies."""
        found = dict.fromkeys(AXES, 0)
        for axis, length in self.axes:
            page, found[axis] = divmod(page, length)
        return FrameCoords(found["c"], found["z"], found["t"], found["p"])


@dataclass(frozen=True, slots=True)
class Calibration:
    """Physical sizes in micrometres and seconds; None where the source does not tell."""

    pixel_size_x_um: float | None = None
    pixel_size_y_um: float | None = None
    z_step_um: float | None = None
    time_interval_s: float | None = None


def imagej_values(lines: Mapping[str, str]) -> JSONObject:
    """Return ImageJ's description, given as the text of its lines by key, with numbers as numbers."""
    return clean_object({key: _value(_unescape(text)) for key, text in lines.items() if key})


def parse_shaped(description: str) -> JSONObject | None:
    """Return tifffile's JSON with its ``shape``, None where the description is not that."""
    if not description.startswith("{") or '"shape"' not in description:
        return None
    try:
        told = clean_object(json.loads(description))
    except (ValueError, RecursionError):
        return None
    shape = told.get("shape")
    return told if isinstance(shape, list) and all(_is_count(n) for n in shape) else None


def imagej_order(told: Mapping[str, JSONValue], *, pages: int, samples: int = 1) -> PageOrder:
    """Return the order of pages that ImageJ's description tells: channels fastest, frames slowest.

    ``samples`` is the number of colour samples in a page: Bio-Formats counts them as channels.

    Raises
    ------
    ValueError
        The counts contradict each other, or the number of pages.
    """
    counts = {axis: _count(told, key) for axis, key in _COUNTS.items()}
    images = _count(told, "images")
    known = math.prod(count or 1 for count in counts.values())
    expected = pages if images is None else images
    if known != expected and counts["c"] == samples > 1:
        counts["c"], known = 1, known // samples
    free = [axis for axis in _NO_LABEL if counts[axis] is None]
    if known < expected and expected % known == 0 and free:
        counts[free[0]] = expected // known
        known = expected
    if known != expected:
        raise ValueError(f"its description tells of {expected} images and counts {known}")
    if expected != pages:
        raise ValueError(f"its description promises {expected} images, the file holds {pages}")
    order = str(told.get("order", "czt")).lower()
    order = order if order in _ORDERS else "czt"
    order = order[:2] + "p" + order[2:] if order == "czt" else order + "p"
    return PageOrder(tuple((axis, counts[axis] or 1) for axis in order))


def shaped_order(told: Mapping[str, JSONValue], *, pages: int, page: Sequence[int]) -> PageOrder:
    """Return the order of pages that tifffile's JSON tells; ``page`` is the shape of one page.

    Axes without a label that means something here (``Q``, ``I``) are taken as slices, or as timepoints
    where slices are named.

    Raises
    ------
    ValueError
        The shape contradicts the pages, or there are more axes than a frame has.
    """
    shape = told["shape"]
    lengths = [int(n) for n in shape if isinstance(n, int)] if isinstance(shape, list) else []
    leading = next((n for n in range(len(lengths) + 1) if _matches(lengths, n, pages, page)), None)
    if leading is None:
        said = "x".join(map(str, lengths))
        raise ValueError(f"its description promises the shape {said}, the file holds {pages} pages")
    axes = told.get("axes")
    letters = "Q" * len(lengths) if axes is None else str(axes).upper()
    if len(letters) != len(lengths):
        raise ValueError(f"its description names the axes {axes} for {len(lengths)} lengths")
    return PageOrder(_label(letters[:leading], lengths[:leading]))


def plain_order(pages: int) -> PageOrder:
    """Return the order of pages that nothing describes: a stack of slices."""
    return PageOrder((("z", pages),))


def calibration(
    told: Mapping[str, JSONValue],
    *,
    resolution: tuple[float | None, float | None],
    resolution_unit: int | None,
) -> Calibration:
    """Return the physical sizes that a description and the resolution tags tell.

    ``resolution`` is in pixels a unit, for x and y. The description's ``unit`` outranks the tag's. A
    resolution of 1 without a unit is tifffile's way to say nothing, 10 000 a centimetre (1 um)
    Micro-Manager's and Bio-Formats', and a coarse one (72 dots an inch) a printer's.
    """
    unit = _UM.get(str(told.get("unit", "")).lower())
    depth = _UM.get(str(told.get("zunit", told.get("unit", ""))).lower())
    shaped = "shape" in told
    sizes = [_pixel_size(value, unit, resolution_unit, shaped=shaped) for value in resolution]
    spacing = _positive(told.get("spacing"))
    interval = _positive(told.get("finterval"))
    seconds = _SECONDS.get(str(told.get("tunit", "")).lower())
    return Calibration(
        pixel_size_x_um=sizes[0],
        pixel_size_y_um=sizes[1],
        z_step_um=spacing * depth if spacing and depth else None,
        time_interval_s=interval * seconds if interval and seconds else None,
    )


def _pixel_size(
    value: float | None, unit: float | None, resolution_unit: int | None, *, shaped: bool
) -> float | None:
    if value is None or not 0 < value < math.inf or (value == 1 and (shaped or unit is None)):
        return None
    if unit is not None and unit != _UM["inch"]:
        return _rounded(unit / value)
    size = _rounded(_RESOLUTION_UM.get(resolution_unit or 0, 0.0) / value)
    return size if 0 < size < _COARSEST_UM and size != 1.0 else None


def _rounded(size: float) -> float:
    """Return a size without the noise of its fraction: 15 digits are what a double holds."""
    return float(f"{size:.12g}")


def _matches(shape: Sequence[int], leading: int, pages: int, page: Sequence[int]) -> bool:
    inner = [length for length in shape[leading:] if length != 1]
    wanted = [length for length in page if length != 1]
    planar = [page[-1], *page[:-1]] if len(page) == 3 else page
    other = [length for length in planar if length != 1]
    return math.prod(shape[:leading]) == pages and inner in (wanted, other)


def _label(letters: str, lengths: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Return axes and lengths, fastest first; axes of length 1 need no place."""
    pairs = [pair for pair in zip(letters, lengths, strict=True) if pair[1] != 1]
    taken = {_LETTERS[letter] for letter, _ in pairs if letter in _LETTERS}
    free = [axis for axis in _NO_LABEL if axis not in taken]
    axes: list[tuple[str, int]] = []
    for letter, length in reversed(pairs):
        if letter not in _LETTERS and letter not in _UNLABELLED:
            raise ValueError(f"its axis {letter} is no channel, slice, timepoint or position")
        axis = _LETTERS.get(letter) or (free.pop(0) if free else None)
        if axis is None or axis in dict(axes):
            raise ValueError(
                f"its axes {letters} are more than channel, slice, timepoint, position"
            )
        axes.append((axis, length))
    return tuple(axes)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def _value(text: str) -> JSONValue:
    if _WHOLE.fullmatch(text):
        return int(text)
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def _is_count(value: JSONValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _count(told: Mapping[str, JSONValue], key: str) -> int | None:
    value = told.get(key)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError(f"its description says {key}={value}")


def _positive(value: JSONValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < math.inf else None
