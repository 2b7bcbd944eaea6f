"""A reader over the file stacks of Micro-Manager 1.4 and 2.0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject, clean_object
from imaging_db.readers import micro_manager as mm
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.micro_manager import MicroManagerFile
from imaging_db.readers.micro_manager_places import PagePlaces
from imaging_db.readers.ome_image import OmeImage, images_of
from imaging_db.readers.ome_set import OmeFolder
from imaging_db.readers.ome_xml import OmeDocument
from imaging_db.readers.position_choice import chosen_positions
from imaging_db.readers.tiff_reader import (
    FramePage,
    TiffPagesReader,
    empty_acquisition,
    opened_together,
    without_unused,
)
from imaging_db.readers.tiff_source import TiffSource

_OF_ONE_RUN = ("UUID", "Prefix", "StartTime", "Directory", "ComputerName")


def open_micro_manager(
    given: Path, paths: Sequence[Path], options: ReaderOptions
) -> TiffPagesReader:
    """Return a reader of every page of the files; one file gives its own pages, a folder all.

    Raises
    ------
    CorruptSource
        A file of the folder's acquisition is missing, or a page's place cannot be told.
    UnsupportedFormat
        The folder holds two acquisitions, or NDTiff.
    """
    with opened_together(paths, options.limits) as files:
        stack = _Stack(given, files)
        if given.is_dir():
            stack.check_one_acquisition()
            if options.positions is None:
                stack.check_complete()
        pages = stack.pages()
        if options.positions is not None:
            names = {p.coords.position: p.position_name or "" for p in pages}
            kept = chosen_positions(given, names, options.positions)
            pages = [page for page in pages if page.coords.position in kept]
        acquisition = stack.acquisition(pages, whole=options.positions is None)
        pages, kept_files = without_unused(pages, files)
        return TiffPagesReader(
            kept_files, pages, acquisition=acquisition, metadata_of=_PageMetadata(kept_files)
        )


@dataclass(frozen=True, slots=True)
class _PageMetadata:
    """Says of a frame what its page tag says, as imagingDB kept it."""

    files: Sequence[TiffSource]

    def __call__(self, page: FramePage) -> JSONObject:
        tag = mm.page_tag(self.files[page.file], page.page)
        if tag is None:
            return {}
        if tag.is_clean:
            return {"MicroManagerMetadata": tag.values}
        try:
            return clean_object(
                {"MicroManagerMetadata": tag.raw if tag.raw is not None else tag.values}
            )
        except ValueError:  # nested too deep
            return {}


class _Stack:
    """The files of one acquisition and what they say of their pages."""

    def __init__(self, given: Path, files: Sequence[TiffSource]) -> None:
        self._given = given
        self._files = files
        self._marks = [MicroManagerFile(file) for file in files]
        self._notes: dict[str, None] = {}
        for file in files:
            if mm.is_ndtiff(file):
                cause = "is NDTiff, whose page tags do not tell the frames apart"
                raise UnsupportedFormat(file.path, cause, hint="use the reader 'ndtiff'")
        self._missing_master: str | None = None
        self._document, self._images = self._read_document()
        self._summary = next((m.summary for m in self._marks if m.summary), {})

    def _read_document(self) -> tuple[OmeDocument | None, Sequence[OmeImage]]:
        """Return the OME-XML of the acquisition as far as it can be read: here it is a witness only."""
        first = self._files[0]
        folder = OmeFolder(first.path.parent, first.limits)
        try:
            for file in self._files:
                document = folder.document(file.path)
                if document is not None and document.is_binary_only:
                    master = folder.named(document.metadata_file)
                    if master is None:
                        self._missing_master = document.metadata_file
                    document = folder.document(master) if master else None
                if document is not None and not document.is_binary_only:
                    return document, images_of(document, file.path)
        except ReaderError as error:
            self._notes[f"OME-XML was not used: {error.cause}"] = None
        return None, ()

    def check_one_acquisition(self) -> None:
        """Raise where the summaries are of different acquisitions."""
        known = [(m, f) for m, f in zip(self._marks, self._files, strict=True) if m.summary]
        for mark, file in known[1:]:
            first, name = known[0][0].summary, known[0][1].path.name
            if any(first.get(key) != mark.summary.get(key) for key in _OF_ONE_RUN):
                cause = f"holds several acquisitions: that of {name} and that of {file.path.name}"
                raise UnsupportedFormat(self._given, cause, hint="give each a folder of its own")

    def check_complete(self) -> None:
        """Raise where a file that the OME-XML names is not in the folder."""
        hint = "upload a file by its own name to take its pages only"
        if self._document is None and self._missing_master is not None:
            cause = f"needs {self._missing_master}, which is not in it"
            raise CorruptSource(self._given, cause, hint=hint)
        if self._document is None:
            return
        here = {file.path.name.casefold() for file in self._files}
        promised = self._document.file_names()
        missing = [name for name in promised if name.casefold() not in here]
        if missing and len(self._files) < len(promised):  # as many under other names: renamed
            others = f" (nor are {len(missing) - 1} others)" if len(missing) > 1 else ""
            cause = f"needs {missing[0]}, which is not in it{others}"
            raise CorruptSource(self._given, cause, hint=hint)

    def pages(self) -> list[FramePage]:
        """Return where every page lies."""
        names = mm.channel_names(self._summary)
        labels = mm.position_labels(self._summary)
        pages: list[FramePage] = []
        for number, (file, mark) in enumerate(zip(self._files, self._marks, strict=True)):
            _check_uniform(file, self._files[0])
            tags = PagePlaces(file, mark, self._images)
            for page, (coords, channel, position) in enumerate(tags.places()):
                channel = channel or _at(names, coords.channel) or self._ome_channel(coords)
                position = position or _at(labels, coords.position) or self._ome_position(coords)
                pages.append(FramePage(coords, number, page, channel, position))
            self._notes |= dict.fromkeys(tags.notes)
        return self._with_one_name_each(pages)

    def _with_one_name_each(self, pages: list[FramePage]) -> list[FramePage]:
        """Give an index one name: the most frequent, for a damaged letter is no other channel."""
        channels = _usual_names((page.coords.channel, page.channel_name) for page in pages)
        positions = _usual_names((page.coords.position, page.position_name) for page in pages)
        named = [
            page
            if page.channel_name == channels[page.coords.channel]
            and page.position_name == positions[page.coords.position]
            else page._replace(
                channel_name=channels[page.coords.channel],
                position_name=positions[page.coords.position],
            )
            for page in pages
        ]
        pairs = zip(pages, named, strict=True)
        changed = sum(_renamed(old, new) for old, new in pairs if old is not new)
        if changed:
            self._notes[f"{changed} pages name their channel or position unlike the others"] = None
        return named

    def _ome_channel(self, coords: FrameCoords) -> str | None:
        names = self._images[0].channel_names if self._images else ()
        return _at(names, coords.channel)

    def _ome_position(self, coords: FrameCoords) -> str | None:
        labels = [image.stage_label or image.name for image in self._images]
        return _at(labels, coords.position)

    def acquisition(self, pages: Sequence[FramePage], *, whole: bool) -> Acquisition:
        """Return what the summary says of the whole, with a note where less was acquired."""
        summary, first = self._summary, self._images[0] if self._images else None
        tag = mm.page_tag(self._files[0], 0)
        values = tag.values if tag else {}
        size = mm.positive(values, "PixelSizeUm") or mm.positive(
            summary, "PixelSize_um", "PixelSizeUm"
        )
        step = mm.planned_z_step(summary)
        interval = mm.positive(summary, "Interval_ms")
        expected = self._expected(pages, whole=whole)
        if expected is not None and len(pages) < expected:
            note = f"the acquisition stopped early: {len(pages)} of {expected} planned frames"
            self._notes[note] = None
        return replace(
            empty_acquisition("ome_tiff", metadata=self._metadata()),
            pixel_size_x_um=size or (first.pixel_size_x_um if first else None),
            pixel_size_y_um=size or (first.pixel_size_y_um if first else None),
            z_step_um=step or (first.z_step_um if first else None),
            time_interval_s=interval / 1000 if interval else None,
            nbr_expected=expected,
            notes=tuple(self._notes),
        )

    def _expected(self, pages: Sequence[FramePage], *, whole: bool) -> int | None:
        """Return how many frames were planned for the positions that are read."""
        if not any(key in self._summary for key in ("Channels", "Slices", "Frames")):
            return None
        each = 1
        for key in ("Channels", "Slices", "Frames"):
            each *= mm.planned(self._summary, key)
        present = len({page.coords.position for page in pages})
        all_here = whole and (self._given.is_dir() or self._is_alone())
        return each * (
            max(present, mm.planned(self._summary, "Positions")) if all_here else present
        )

    def _is_alone(self) -> bool:
        return self._document is not None and len(self._document.file_names()) <= 1

    def _metadata(self) -> JSONObject:
        info = next((m.info for m in self._marks if m.info), None) or self._summary
        return clean_object({"file_origin": str(self._given), "IJMetadata": info})


def _check_uniform(file: TiffSource, first: TiffSource) -> None:
    """Raise where a page is unlike the others: Micro-Manager writes a stack of equal images, in order.

    Each page's pixels lie between its own list of tags and the next page's. Where most pages keep to
    that, one that does not has a damaged offset.
    """
    wanted = first.layout(0)
    alike = [(wanted.shape, wanted.dtype) == (other.shape, other.dtype) for other in file.layouts()]
    for page in () if all(alike) else range(len(file)):
        layout = file.layout(page)
        if (layout.shape, layout.dtype) != (wanted.shape, wanted.dtype):
            cause = (
                f"is {layout.shape} {layout.dtype}, the first page {wanted.shape} {wanted.dtype}"
            )
            raise CorruptSource(file.path, cause, page=page)
    starts = [*map(file.offset, range(len(file))), file.size]
    pixels = [file.pixel_offset(page) for page in range(len(file))]
    shared = Counter(pixels)  # blank pages may have their pixels in common
    astray = [
        page
        for page, offset in enumerate(pixels)
        if not starts[page] < offset < starts[page + 1] and shared[offset] == 1
    ]
    if astray and 2 * len(astray) < len(file):
        cause = "its pixels do not lie where Micro-Manager puts them: an offset is damaged"
        raise CorruptSource(file.path, cause, page=astray[0])


def _usual_names(named: Iterable[tuple[int, str | None]]) -> dict[int, str | None]:
    """Return the most frequent name of each index, the first of those that are equally frequent."""
    usual: dict[int, tuple[int, str | None]] = {}
    for (index, name), count in Counter(named).items():
        most, _ = usual.setdefault(index, (0, None))
        if name and count > most:
            usual[index] = count, name
    return {index: name for index, (_, name) in usual.items()}


def _renamed(before: FramePage, after: FramePage) -> bool:
    pairs = ((before.channel_name, after.channel_name), (before.position_name, after.position_name))
    return any(old is not None and old != new for old, new in pairs)


def _at(names: Sequence[Any], index: int) -> str | None:
    return (names[index] or None) if index < len(names) else None
