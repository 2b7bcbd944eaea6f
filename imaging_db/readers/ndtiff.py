"""NDTiff, versions 2 and 3: Micro-Manager's and pycro-manager's fast format.

``NDTiff.index`` says on which axes each image lies; so does the key ``Axes`` in each page's metadata. The
fields ChannelIndex, SliceIndex, FrameIndex and PositionIndex there are 0 on every page and mean nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import Acquisition, JSONObject, JSONValue, clean_object
from imaging_db.readers.base import Match, Reader, ReaderOptions, ReaderSpec
from imaging_db.readers.json_text import parse_json
from imaging_db.readers.micro_manager_text import parse_size, planned_counts
from imaging_db.readers.ndtiff_axes import place_axes
from imaging_db.readers.ndtiff_index import Axes
from imaging_db.readers.ndtiff_set import Image, NDTiffSet, is_ndtiff, open_set
from imaging_db.readers.placement import (
    Placement,
    first_collision,
    out_of_range,
)
from imaging_db.readers.position_choice import chosen_positions
from imaging_db.readers.tiff_directory import MICRO_MANAGER
from imaging_db.readers.tiff_reader import FramePage, TiffPagesReader, empty_acquisition
from imaging_db.readers.tiff_source import TiffSource

PackedAxes: TypeAlias = "Mapping[int, Mapping[int, tuple[tuple[str, ...], tuple[int | str, ...]]]]"


def open_ndtiff(path: Path, options: ReaderOptions) -> Reader:
    """Return a reader of an NDTiff dataset, or of one stack of it.

    Raises
    ------
    UnsupportedFormat
        Axes that a frame does not have, or a position that is not there.
    CorruptSource
        Index and pages disagree, or two images lie on the same axes; see `open_set`.
    """
    found = open_set(path, options.limits)
    try:
        places = _placed(found, path)
        images = _selected(found, places, path, options.positions)
        pages = [page for page, _ in images]
        axes = _packed((page.file, page.page, image.axes) for page, image in images)
        return TiffPagesReader(
            found.sources,
            pages,
            acquisition=_acquisition(found, len(pages)),
            metadata_of=partial(_metadata, found.sources, axes),
            other_sources=() if found.index is None else (found.index,),
        )
    except BaseException:
        found.close()
        raise


def _acquisition(found: NDTiffSet, nbr_frames: int) -> Acquisition:
    summary = found.header.summary
    pixel_size = parse_size(summary.get("PixelSize_um"))
    interval = parse_size(summary.get("Interval_ms"))
    expected, promise = _promise(found, nbr_frames)
    metadata: JSONObject = {"Summary": summary, "NDTiffVersion": found.header.version}
    return replace(
        empty_acquisition("ndtiff", metadata=metadata),
        pixel_size_x_um=pixel_size,
        pixel_size_y_um=pixel_size,
        z_step_um=parse_size(summary.get("z-step_um")),
        time_interval_s=None if interval is None else interval / 1000,
        nbr_expected=expected,
        notes=(*found.notes, *(note for file in found.sources for note in file.notes), *promise),
    )


def _promise(found: NDTiffSet, nbr_frames: int) -> tuple[int | None, list[str]]:
    """Return how many frames were planned, and a note where fewer were saved."""
    if nbr_frames < len(found.images):
        return None, []
    planned = math.prod(planned_counts(found.header.summary) or (0,))
    if planned <= nbr_frames:
        return nbr_frames, []
    return planned, [f"{planned} frames were planned, {nbr_frames} were saved"]


def _placed(found: NDTiffSet, path: Path) -> list[Placement]:
    axes = [image.axes for image in found.images]
    try:
        places = place_axes(axes, found.header.summary)
    except ValueError as error:
        raise UnsupportedFormat(path, str(error)) from error
    same = first_collision(places)
    if same is not None:
        cause = (
            f"images {same[0]} and {same[1]} lie on the same axes: {axes[same[0]]}, {axes[same[1]]}"
        )
        raise CorruptSource(path, cause)
    wrong = out_of_range(places)
    if wrong is not None:
        raise UnsupportedFormat(
            path, f"image {wrong} lies on axes that are too large: {axes[wrong]}"
        )
    return places


def _selected(
    found: NDTiffSet,
    places: Sequence[Placement],
    path: Path,
    positions: Sequence[int] | None,
) -> list[tuple[FramePage, Image]]:
    """Return the images of the files and positions that were asked for."""
    number = {id(source): file for file, source in enumerate(found.sources)}
    images = [
        (FramePage(p.coords, number[id(i.source)], i.page, p.channel_name, p.position_name), i)
        for i, p in zip(found.images, places, strict=True)
        if i.source is not None
    ]
    if positions is None:
        return images
    names = {page.coords.position: page.position_name or "" for page, _ in images}
    chosen = chosen_positions(path, names, positions)
    return [item for item in images if item[0].coords.position in chosen]


def _packed(images: Iterable[tuple[int, int, Axes]]) -> PackedAxes:
    """Return the axes of every page by file and page; their names are one object for all."""
    packed: dict[int, dict[int, tuple[tuple[str, ...], tuple[int | str, ...]]]] = {}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for file, page, axes in images:
        names = tuple(axes)
        packed.setdefault(file, {})[page] = known.setdefault(names, names), tuple(axes.values())
    return packed


def _metadata(sources: Sequence[TiffSource], axes: PackedAxes, page: FramePage) -> JSONObject:
    """Return the page's metadata under imagingDB's key; text that is not JSON stays text."""
    said = _said(sources[page.file], page.page)
    metadata: JSONObject = {} if said is None else {"MicroManagerMetadata": said}
    if not isinstance(said, dict) or "Axes" not in said:
        names, values = axes[page.file][page.page]
        metadata["Axes"] = dict(zip(names, values, strict=True))
    return metadata


def _said(source: TiffSource, page: int) -> JSONValue:
    raw = source.micro_manager_text(page)
    with suppress(ValueError, RecursionError):
        parsed = parse_json((raw or b"").rstrip(b"\x00"))
        if parsed.is_clean and isinstance(parsed.value, dict):
            return cast(JSONObject, parsed.value)
    text = source.tag(page, MICRO_MANAGER)
    said: JSONValue = text if isinstance(text, str) else None
    with suppress(ValueError, RecursionError, AttributeError):
        said = clean_object(json.loads(text)) if isinstance(text, str) else None
    return said


def sniff(path: Path) -> Match:
    """Return ``EXACT`` for an NDTiff dataset or one of its stacks."""
    try:
        return Match.EXACT if is_ndtiff(path) else Match.NO
    except (OSError, ReaderError):
        return Match.NO


SPEC = ReaderSpec(
    name="ndtiff",
    summary="NDTiff dataset of Micro-Manager or pycro-manager: a folder with NDTiff.index",
    sniff=sniff,
    open=open_ndtiff,
    takes_positions=True,
)
