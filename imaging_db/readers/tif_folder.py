"""A folder of TIFF files, a frame each; what their names cannot say, pages and ``metadata.txt`` may.

What is taken and what is refused:

- Indices that a name labels stay what they are (``z003`` is slice 3, channels from 1 start at 1); a number
  without label becomes the timepoint, counted from 0, and stays in the frame's metadata.
- All frames are of one shape and type; otherwise two files are named.
- Without a configured parser the frames must fill the whole grid of slices and timepoints, from the
  lowest to the highest in their constant step, in each channel at each position: a hole is a lost file.
  Positions that are not there, channels that are numbered by wavelength (405, 488), and steps are noted.
  Two things allow holes: ``metadata.txt`` lists each file (the microscope left the others out), or its
  summary plans more and the files are the beginning of it (the acquisition was stopped). A configured
  parser takes what is there. Each is noted, with the number expected.
- Pages of a file are slices, or what ImageJ's description says, where the name leaves that axis free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject
from imaging_db.readers.base import Match, Reader, ReaderOptions, ReaderSpec, ReadLimits
from imaging_db.readers.imagej import AXES, Calibration, PageOrder
from imaging_db.readers.micro_manager_text import FILE_NAME, parse_size, planned_counts
from imaging_db.readers.placement import (
    Placement,
    channel_range,
    collisions,
    constant_step,
    missing_places,
    out_of_range,
    stopped_early,
)
from imaging_db.readers.position_choice import chosen_positions
from imaging_db.readers.tif_folder_files import Listing, list_folder, subfolders, tif_names
from imaging_db.readers.tif_folder_places import FilePlace, Places, place_files
from imaging_db.readers.tif_id import check_micro_manager, frame_pages, page_order, physical_sizes
from imaging_db.readers.tiff_reader import FramePage, TiffPagesReader, empty_acquisition
from imaging_db.readers.tiff_source import AlikeFiles, TiffSource

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Frame:
    """One page of one file (by its number), and where it lies."""

    file: int
    page: int
    placement: Placement


def open_tif_folder(path: Path, options: ReaderOptions) -> Reader:
    """Return a reader of a folder of TIFF files.

    Raises
    ------
    UnsupportedFormat
        Names that do not tell the frames apart, frames that differ in shape or type, or a position that
        is not there.
    CorruptSource
        Files that are empty, damaged or missing.
    """
    listing = list_folder(path, max_metadata_bytes=options.limits.max_metadata_bytes)
    if len(listing.files) > options.limits.max_frames:
        cause = f"holds {len(listing.files)} files, the limit is {options.limits.max_frames}"
        raise UnsupportedFormat(path, cause, hint="raise max_frames")
    places = place_files(listing, options.filename_parser)
    with ExitStack() as opened:
        sources = _open_all(listing, options.limits, opened)
        frames, notes = _frames(sources, places)
        _check_alike(sources, frames)
        _check_places(listing, frames)
        notes += _grid_notes(frames)
        expected, promise = _promise(listing, places, frames)
        frames = _selected(listing, frames, options.positions)
        reader = _reader(listing, places, sources, frames, expected, [*notes, *promise])
        opened.pop_all()
        return reader


def _reader(
    listing: Listing,
    places: Places,
    sources: Sequence[TiffSource],
    frames: Sequence[_Frame],
    expected: int | None,
    notes: Sequence[str],
) -> Reader:
    pages = [
        FramePage(
            x.placement.coords, x.file, x.page, x.placement.channel_name, x.placement.position_name
        )
        for x in frames
    ]
    return TiffPagesReader(
        sources,
        pages,
        acquisition=_acquisition(listing, places, sources[0], expected, notes),
        metadata_of=partial(_metadata, sources, places.files),
        other_sources=[x.text_path for x in listing.folders if x.text_path is not None],
    )


def _open_all(listing: Listing, limits: ReadLimits, opened: ExitStack) -> list[TiffSource]:
    """Return every file, open; where files are refused, the first is named and the others counted."""
    alike = AlikeFiles()
    sources: list[TiffSource] = []
    refused: list[ReaderError] = []
    for file in listing.files:
        try:
            source = TiffSource(file, limits, keep_open=False, alike=alike)
        except ReaderError as error:
            refused.append(error)
        else:
            sources.append(opened.enter_context(source))
    if len(refused) == 1:
        raise refused[0]
    if refused:
        cause = f"{refused[0].cause}; {len(refused) - 1} others of {len(listing.files)} files too"
        raise CorruptSource(refused[0].source, cause, page=refused[0].page) from refused[0]
    return sources


def _frames(sources: Sequence[TiffSource], places: Places) -> tuple[list[_Frame], list[str]]:
    frames: list[_Frame] = []
    notes: list[str] = []
    for number, (source, file) in enumerate(zip(sources, places.files, strict=True)):
        pages, left_out = frame_pages(source)
        notes += [*source.notes, *left_out]
        order = _inner_order(source, pages, file)
        for index, page in enumerate(pages):
            frames.append(_Frame(number, page, _shifted(file.placement, order.coords(index))))
    return frames, notes


def _inner_order(source: TiffSource, pages: Sequence[int], file: FilePlace) -> PageOrder:
    """Return the order of a file's pages; the name must leave free each axis that they run on."""
    if len(pages) == 1:
        return PageOrder(())
    order, _ = page_order(source, pages)
    check_micro_manager(source, pages, order)
    taken = [axis for axis in AXES if order.length(axis) > 1 and axis not in file.free_axes]
    if taken:
        cause = (
            f"holds {len(pages)} pages on the axes {', '.join(taken)}, which its name tells already"
        )
        raise UnsupportedFormat(source.path, cause, hint="upload it by itself with 'tif_id'")
    return order


def _shifted(placement: Placement, inner: FrameCoords) -> Placement:
    coords = FrameCoords(*(a + b for a, b in zip(placement.coords, inner, strict=True)))
    return replace(placement, coords=coords)


def _check_alike(sources: Sequence[TiffSource], frames: Sequence[_Frame]) -> None:
    first = sources[0].layout(frames[0].page)
    for frame in frames:
        layout = sources[frame.file].layout(frame.page)
        if (layout.shape, layout.dtype) != (first.shape, first.dtype):
            cause = (
                f"is {_shape(layout.shape)} {layout.dtype}, {sources[0].path.name} is "
                f"{_shape(first.shape)} {first.dtype}: frames of one folder must be alike"
            )
            raise UnsupportedFormat(sources[frame.file].path, cause)


def _check_places(listing: Listing, frames: Sequence[_Frame]) -> None:
    placements = [frame.placement for frame in frames]
    same = collisions(placements)
    if same:
        shown = "; ".join(
            f"{coords}: {' and '.join(listing.files[frames[n].file].name for n in numbers[:3])}"
            for coords, numbers in list(same.items())[:_SHOWN]
        )
        cause = f"{sum(map(len, same.values()))} frames claim {len(same)} places ({shown})"
        hint = "name a 'filename_parser' in the config, or split the folder"
        raise UnsupportedFormat(listing.root, cause, hint=hint)
    wrong = out_of_range(placements)
    if wrong is not None:
        cause = f"its name tells an index that is too large: {placements[wrong].coords}"
        raise UnsupportedFormat(listing.files[frames[wrong].file], cause)


def _grid_notes(frames: Sequence[_Frame]) -> list[str]:
    """Return what to tell of positions that are left out, and of numbers that do not run on."""
    notes: list[str] = []
    present = {frame.placement.coords.position for frame in frames}
    between = max(present) - min(present) + 1 - len(present)
    if between:
        notes.append(f"{between} positions between {min(present)} and {max(present)} are not there")
    channels = sorted({frame.placement.coords.channel for frame in frames})
    if len(channel_range(channels)) < channels[-1] - channels[0] + 1:
        shown = ", ".join(map(str, channels[:_SHOWN])) + (", ..." * (len(channels) > _SHOWN))
        notes.append(f"channels have the numbers {shown}")
    for axis in ("slice", "timepoint"):
        step = constant_step(getattr(frame.placement.coords, axis) for frame in frames)
        notes += [f"{axis} numbers go in steps of {step}"] if step > 1 else []
    return notes


def _promise(
    listing: Listing, places: Places, frames: Sequence[_Frame]
) -> tuple[int | None, list[str]]:
    """Return how many frames were planned, and what to tell of those that are not there.

    Raises
    ------
    CorruptSource
        A frame is missing where nothing says that it should be.
    """
    placements = [frame.placement for frame in frames]
    holes, examples = missing_places(placements, most=_SHOWN)
    plan = _plan(listing)
    planned = math.prod(plan or (0,))
    expected = max(planned, len(frames) + holes)
    if expected == len(frames):
        _check_numbers(listing, places)
        return expected if plan else None, []
    fewer = f"{expected} frames are expected, {len(frames)} are there"
    if places.is_configured or places.is_logged:
        return expected, [fewer]
    if plan and stopped_early(placements, plan):
        return expected, [f"{fewer}: the acquisition was stopped early"]
    if holes:
        shown = ", ".join(map(str, examples)) + (", ..." if holes > len(examples) else "")
        raise _missing(listing, f"{holes} frames are missing: {shown}")
    raise _missing(listing, f"{FILE_NAME} promises {planned} frames, {len(frames)} are there")


def _plan(listing: Listing) -> tuple[int, int, int, int] | None:
    """Return what the summary plans; of one position's folder by itself, for that position."""
    text = listing.folders[0].text
    plan = planned_counts(text.summary) if text else None
    if plan is None or listing.folders[0].path != listing.root:
        return plan
    return (*plan[:3], 1)


def _check_numbers(listing: Listing, places: Places) -> None:
    """Refuse a running number that skips: its steps must be one, or all alike."""
    if places.is_configured:
        return
    numbers = sorted({x.told.running for x in places.files if x.told.running is not None})
    steps = [after - before for before, after in pairwise(numbers)]
    if set(steps) <= {1} or (len(set(steps)) == 1 and len(steps) > 1):
        return
    gaps = [
        f"{before} is followed by {after}"
        for before, after in pairwise(numbers)
        if after - before > min(steps) or len(steps) == 1
    ]
    more = ", ..." if gaps[_SHOWN:] else ""
    raise _missing(listing, f"its numbers skip: {', '.join(gaps[:_SHOWN])}{more}")


def _missing(listing: Listing, cause: str) -> ReaderError:
    hint = "complete the folder, or name a 'filename_parser' to take it as it is"
    return CorruptSource(listing.root, cause, hint=hint)


def _selected(
    listing: Listing, frames: list[_Frame], positions: Sequence[int] | None
) -> list[_Frame]:
    if positions is None:
        return frames
    names = {x.placement.coords.position: x.placement.position_name or "" for x in frames}
    chosen = chosen_positions(listing.root, names, positions)
    return [x for x in frames if x.placement.coords.position in chosen]


def _acquisition(
    listing: Listing,
    places: Places,
    first: TiffSource,
    expected: int | None,
    notes: Sequence[str],
) -> Acquisition:
    text = listing.folders[0].text
    summary = text.summary if text else {}
    sizes = _sizes(first)
    pixel_size = parse_size(summary.get("PixelSize_um"))
    interval = parse_size(summary.get("Interval_ms"))
    return replace(
        empty_acquisition("tif_folder", metadata=_global_metadata(listing, places)),
        pixel_size_x_um=pixel_size or sizes.pixel_size_x_um,
        pixel_size_y_um=pixel_size or sizes.pixel_size_y_um,
        z_step_um=parse_size(summary.get("z-step_um")) or sizes.z_step_um,
        time_interval_s=sizes.time_interval_s if interval is None else interval / 1000,
        nbr_expected=expected,
        notes=(*listing.notes, *notes),
    )


def _sizes(source: TiffSource) -> Calibration:
    pages, _ = frame_pages(source)
    _, told = page_order(source, pages) if source.is_imagej else (None, {})
    return physical_sizes(source, told, page=pages[0])


def _global_metadata(listing: Listing, places: Places) -> JSONObject:
    """Return ``metadata.txt`` but for its entries of single files, and what the names say of all."""
    texts = {folder.path.name: folder.text for folder in listing.folders if folder.text}
    if not texts:
        return dict(places.global_metadata)
    first = next(iter(texts.values()))
    metadata: JSONObject = {**first.general, **places.global_metadata}
    if len(texts) > 1:
        metadata["folders"] = {name: text.general for name, text in texts.items()}
    return metadata


def _metadata(
    sources: Sequence[TiffSource], files: Sequence[FilePlace], page: FramePage
) -> JSONObject:
    """Return a frame's TIFF tags, its entry in ``metadata.txt``, and what its name tells besides."""
    source, file = sources[page.file], files[page.file]
    metadata = source.tags(page.page)
    labels = source.imagej_labels()
    if page.page < len(labels) and labels[page.page]:
        metadata["Label"] = labels[page.page]
    if file.entry is not None:
        key = FILE_NAME if "MicroManagerMetadata" in metadata else "MicroManagerMetadata"
        metadata[key] = file.entry.metadata
    metadata["file_name"] = source.path.name
    if file.told.metadata:
        metadata["name"] = dict(file.told.metadata)
    return metadata


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def sniff(path: Path) -> Match:
    """Return ``YES`` for a folder that Micro-Manager wrote, ``MAYBE`` for another with TIFF files."""
    try:
        if not path.is_dir():
            return Match.NO
        folders = [path] if tif_names(path) else [x for x in subfolders(path) if tif_names(x)]
        names = [name.lower() for folder in folders for name in tif_names(folder)]
        if not names or all(name.endswith((".ome.tif", ".ome.tiff")) for name in names):
            return Match.NO
        return Match.YES if any((x / FILE_NAME).is_file() for x in folders) else Match.MAYBE
    except OSError:
        return Match.NO


SPEC = ReaderSpec(
    name="tif_folder",
    summary="a folder of TIFF files, a frame each, named by channel, slice, timepoint or position",
    sniff=sniff,
    open=open_tif_folder,
    takes_positions=True,
)
