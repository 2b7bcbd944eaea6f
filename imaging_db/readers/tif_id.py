"""One TIFF file whose pages are the frames: ImageJ hyperstacks, tifffile's stacks, plain multi-page files.

ImageJ's description says how many channels, slices and frames (timepoints) there are; pages run over
channels fastest. A file that says nothing is a stack of slices. Files that Micro-Manager or an OME writer
made are taken only where their own marks agree, page by page, with ImageJ's description.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from imaging_db.errors import ReaderError, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject, JSONValue, clean_json
from imaging_db.readers.base import Match, Reader, ReaderOptions, ReaderSpec, ReadLimits
from imaging_db.readers.filename_parsers import ParsedName, get_parser
from imaging_db.readers.imagej import (
    Calibration,
    PageOrder,
    calibration,
    imagej_order,
    imagej_values,
    parse_shaped,
    plain_order,
    shaped_order,
)
from imaging_db.readers.lost_description import lost_description, lost_in
from imaging_db.readers.ome_peek import micro_manager_header
from imaging_db.readers.ome_xml import looks_like_ome
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import DESCRIPTION, MICRO_MANAGER, TiffStructure
from imaging_db.readers.tiff_errors import refusing
from imaging_db.readers.tiff_reader import FramePage, TiffPagesReader, empty_acquisition
from imaging_db.readers.tiff_source import TiffSource

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_MM_INDICES = ("ChannelIndex", "SliceIndex", "FrameIndex")


def open_tif_id(path: Path, options: ReaderOptions) -> Reader:
    """Return a reader of one TIFF file.

    Raises
    ------
    UnsupportedFormat
        Pages that differ, or a description that contradicts them.
    CorruptSource
        The file is damaged.
    """
    source = TiffSource(path, options.limits)
    try:
        named = _parsed(path, options)
        numbers, notes = frame_pages(source)
        order, told = page_order(source, numbers)
        notes += _sample_notes(source.layout(numbers[0]).shape, told)
        check_micro_manager(source, numbers, order)
        pages = [FramePage(order.coords(i), 0, page) for i, page in enumerate(numbers)]
        return TiffPagesReader(
            [source],
            pages,
            acquisition=_acquisition(source, told, named, notes, numbers),
            metadata_of=partial(page_metadata, source, labels=source.imagej_labels()),
        )
    except BaseException:
        source.close()
        raise


def page_metadata(source: TiffSource, page: FramePage, *, labels: Sequence[str] = ()) -> JSONObject:
    """Return a page's TIFF tags by name, and ImageJ's label of the slice."""
    metadata = source.tags(page.page)
    if page.page < len(labels) and labels[page.page]:
        metadata["Label"] = labels[page.page]
    return metadata


def _acquisition(
    source: TiffSource, told: JSONObject, named: ParsedName, notes: list[str], pages: Sequence[int]
) -> Acquisition:
    sizes = physical_sizes(source, told, page=pages[0])
    lost = lost_in(source.path, source.limits)
    notes += [f"{lost}; its pages were taken as they are"] if lost else []
    metadata = {**stack_metadata(source, told), **named.global_metadata}
    return replace(
        empty_acquisition("tif_id", metadata=metadata),
        pixel_size_x_um=sizes.pixel_size_x_um,
        pixel_size_y_um=sizes.pixel_size_y_um,
        z_step_um=sizes.z_step_um,
        time_interval_s=sizes.time_interval_s,
        nbr_expected=len(pages) if told else None,
        notes=(*source.notes, *notes, *_name_notes(named)),
    )


def frame_pages(source: TiffSource) -> tuple[list[int], list[str]]:
    """Return the pages of a file that are frames, and notes on those that are not.

    Reduced copies (thumbnails, pyramid levels) and transparency masks are left out; all others must be
    alike. Where a file has nothing else, they are the frames.

    Raises
    ------
    UnsupportedFormat
        Two pages differ in shape or type; both are named.
    """
    layouts = source.layouts()
    kinds_found = {(x.shape, x.dtype, x.is_mask, x.is_reduced) for x in layouts}
    if len(kinds_found) == 1 and not layouts[0].is_mask and not layouts[0].is_reduced:
        return list(range(len(source))), []
    start = _first_image(source)
    first = source.layout(start)
    pages: list[int] = []
    reduced: list[int] = []
    masks: list[int] = []
    for index in range(len(source)):
        layout = source.layout(index)
        if layout.is_mask and not first.is_mask:
            masks.append(index)
        elif (layout.shape, layout.dtype) == (first.shape, first.dtype):
            pages.append(index)
        elif layout.is_reduced:
            reduced.append(index)
        else:
            cause = (
                f"is {_shape(layout.shape)} {layout.dtype}, page {start} is "
                f"{_shape(first.shape)} {first.dtype}: frames of one stack must be alike"
            )
            raise UnsupportedFormat(source.path, cause, page=index)
    kinds = {"smaller copies": reduced, "masks": masks}
    name = source.path.name
    return pages, [f"{name}: {k} in pages {_listed(n)} left out" for k, n in kinds.items() if n]


def _first_image(source: TiffSource) -> int:
    """Return the first page that is neither a smaller copy nor a mask, 0 where all are."""
    layouts = (source.layout(index) for index in range(len(source)))
    wanted = (n for n, layout in enumerate(layouts) if not (layout.is_reduced or layout.is_mask))
    return next(wanted, 0)


def _listed(pages: Sequence[int]) -> str:
    return ", ".join(map(str, pages[:5])) + (", ..." if len(pages) > 5 else "")


def page_order(source: TiffSource, pages: Sequence[int]) -> tuple[PageOrder, JSONObject]:
    """Return which frame each page is, and what the file's description says, empty if nothing.

    Raises
    ------
    UnsupportedFormat
        The description contradicts the pages, or the file is an OME-TIFF that ImageJ did not describe.
    """
    described = source.description(pages[0]) or source.description(0)
    shape = source.layout(pages[0]).shape
    try:
        if source.is_imagej:
            told = imagej_values(source.imagej)
            samples = shape[2] if len(shape) == 3 else 1
            return imagej_order(told, pages=len(pages), samples=samples), told
        shaped = parse_shaped(described)
        if shaped is not None:
            return shaped_order(shaped, pages=len(pages), page=shape), shaped
    except ValueError as error:
        raise UnsupportedFormat(source.path, str(error)) from error
    if looks_like_ome(described):
        cause = "is an OME-TIFF; what its pages are is told by its OME-XML"
        raise UnsupportedFormat(source.path, cause, hint="use 'ome_tiff'")
    return plain_order(len(pages)), {}


def stack_metadata(source: TiffSource, told: JSONObject) -> JSONObject:
    """Return what a file says of itself as a whole: its description, ImageJ's info and labels."""
    metadata: JSONObject = {}
    if told:
        metadata["ImageJ" if source.is_imagej else "description"] = dict(told)
    info = source.imagej_info()
    if info:
        metadata["Info"] = _info(info)
    labels = source.imagej_labels()
    if any(labels):
        metadata["Labels"] = list(labels)
    ranges = source.imagej_ranges()
    if ranges:
        metadata["Ranges"] = clean_json(ranges)
    return metadata


def physical_sizes(source: TiffSource, told: JSONObject, *, page: int = 0) -> Calibration:
    """Return the physical sizes that description and resolution tags tell; see `imagej.calibration`."""
    unit = source.tag(page, _RESOLUTION_UNIT)
    x, y = (_ratio(source.tag(page, code)) for code in (_X_RESOLUTION, _Y_RESOLUTION))
    return calibration(
        told,
        resolution=(x, y),
        resolution_unit=unit if isinstance(unit, int) else None,
    )


def sniff(path: Path) -> Match:
    """Return ``YES`` for ImageJ's files, ``MAYBE`` for any other TIFF without marks of OME.

    ``NO`` for a file that has lost the description of its frames (see `lost_description`).
    """
    if not path.is_file():
        return Match.NO
    try:
        data = FileBytes(path)
    except ReaderError:
        return Match.NO
    try:
        with refusing(path):
            return _sniff(data)
    except ReaderError:
        return Match.NO
    finally:
        data.close()


def _sniff(data: FileBytes) -> Match:
    structure = TiffStructure(data, max_metadata_bytes=ReadLimits().max_metadata_bytes)
    first = structure.directory(structure.first_offset, page=0)
    field = first.fields.get(DESCRIPTION)
    fields = first.more_descriptions if field is None else (field, *first.more_descriptions)
    texts = [str(structure.value(field, page=0)) for field in fields]
    imagej = any(text.startswith(("ImageJ=", "SCIFIO=")) for text in texts)
    marked = MICRO_MANAGER in first.fields or micro_manager_header(data, structure.byteorder)
    if marked or any(map(looks_like_ome, texts)):
        return Match.MAYBE if imagej else Match.NO
    if lost_description(data, structure, first) is not None:
        return Match.NO
    return Match.YES if imagej else Match.MAYBE


def check_micro_manager(source: TiffSource, pages: Sequence[int], order: PageOrder) -> None:
    """Refuse a Micro-Manager file unless each page's own indices agree with the order of its pages.

    Raises
    ------
    UnsupportedFormat
        The first page that is elsewhere, or of several one that does not tell; `ome_tiff` or `ndtiff`
        knows better.
    """
    if not source.is_micro_manager:
        return
    said_of = [_micro_manager_indices(source.tag(page, MICRO_MANAGER)) for page in pages]
    hint = "use 'ome_tiff' or 'ndtiff'"
    for index, (page, said) in enumerate(zip(pages, said_of, strict=True)):
        coords = order.coords(index)
        if said is None and len(pages) > 1:
            cause = "is Micro-Manager's, and does not tell by itself which frame it is"
            raise UnsupportedFormat(source.path, cause, page=page, hint=hint)
        if said is not None and said != (coords.channel, coords.slice, coords.timepoint):
            cause = f"Micro-Manager says {FrameCoords(*said, 0)}, its order of pages {coords}"
            raise UnsupportedFormat(source.path, cause, page=page, hint=hint)


def _micro_manager_indices(text: object) -> tuple[int, int, int] | None:
    try:
        said = json.loads(text) if isinstance(text, (str, bytes)) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    channel, z, timepoint = (said.get(key) for key in _MM_INDICES)
    if isinstance(channel, int) and isinstance(z, int) and isinstance(timepoint, int):
        return channel, z, timepoint
    return None


def _parsed(path: Path, options: ReaderOptions) -> ParsedName:
    """Return what the configured parser makes of the file's name; of one file, what is global counts."""
    if options.filename_parser is None:
        return ParsedName()
    parser = get_parser(options.filename_parser)
    try:
        return parser(path.name)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnsupportedFormat(path, f"{options.filename_parser}: {error}") from error


def _sample_notes(shape: Sequence[int], told: JSONObject) -> list[str]:
    """Tell where the colour samples of a page are called another axis, such as YXT: they stay samples."""
    axes = told.get("axes")
    inner = axes[-3:] if isinstance(axes, str) and len(shape) == 3 else "S"
    other = [letter for letter in inner if letter not in "YXS"]
    return [f"axis {other[0]} lies inside the page and stays its colours"] if other else []


def _name_notes(named: ParsedName) -> tuple[str, ...]:
    indices = (named.channel, named.slice, named.timepoint, named.position, named.channel_name)
    if all(index is None for index in indices):
        return ()
    return ("indices in the file's name were not used: the pages of the file tell them",)


def _info(info: str) -> JSONValue:
    try:
        said = json.loads(info)
        return clean_json(said) if isinstance(said, dict) else info
    except (ValueError, RecursionError):
        return info


def _ratio(value: object) -> float | None:
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return None
    return float(value[0]) / float(value[1])


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


SPEC = ReaderSpec(
    name="tif_id",
    summary="one TIFF file: an ImageJ hyperstack, or pages that are slices",
    sniff=sniff,
    open=open_tif_id,
    aliases=("imagej",),
)
