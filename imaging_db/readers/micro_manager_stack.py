"""A reader over the file stacks of Micro-Manager 1.4 and 2.0."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imaging_db.errors import CorruptSource, ReaderError, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject, clean_object
from imaging_db.readers import micro_manager as mm
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.micro_manager import MicroManagerFile, PageTag
from imaging_db.readers.ome_image import OmeImage, images_of
from imaging_db.readers.ome_set import OmeFolder
from imaging_db.readers.ome_xml import OmeDocument
from imaging_db.readers.position_choice import chosen_positions
from imaging_db.readers.tiff_reader import (
    FramePage,
    TiffPagesReader,
    empty_acquisition,
    opened_together,
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
        stack = _Stack(given, files, options.limits.max_frames)
        if given.is_dir():
            stack.check_one_acquisition()
            if options.positions is None:
                stack.check_complete()
        pages = stack.pages()
        if options.positions is not None:
            names = {p.coords.position: p.position_name or "" for p in pages}
            kept = chosen_positions(given, names, options.positions)
            pages = [page for page in pages if page.coords.position in kept]
        pages, kept_files = _without_unused(pages, files)
        whole = options.positions is None
        return TiffPagesReader(
            kept_files,
            pages,
            acquisition=stack.acquisition(pages, whole=whole),
            metadata_of=_PageMetadata(kept_files),
        )


@dataclass(frozen=True, slots=True)
class _PageMetadata:
    """Says of a frame what its page tag says, as imagingDB kept it."""

    files: Sequence[TiffSource]

    def __call__(self, page: FramePage) -> JSONObject:
        tag = mm.page_tag(self.files[page.file], page.page)
        if tag is None:
            return {}
        try:
            return clean_object(
                {"MicroManagerMetadata": tag.raw if tag.raw is not None else tag.values}
            )
        except ValueError:  # nested too deep
            return {}


class _Stack:
    """The files of one acquisition and what they say of their pages."""

    def __init__(self, given: Path, files: Sequence[TiffSource], max_frames: int) -> None:
        self._given = given
        self._files = files
        self._max_frames = max_frames
        self._marks = [MicroManagerFile(file) for file in files]
        self._notes: dict[str, None] = {}
        for file in files:
            if mm.is_ndtiff(file):
                cause = "is NDTiff, whose page tags do not tell the frames apart"
                raise UnsupportedFormat(file.path, cause, hint="use the reader 'ndtiff'")
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
        if self._document is None:
            self._check_master()
            return
        here = {file.path.name.casefold() for file in self._files}
        promised = self._document.file_names()
        missing = [name for name in promised if name.casefold() not in here]
        if missing and len(self._files) < len(promised):  # as many under other names: renamed
            others = f" (nor are {len(missing) - 1} others)" if len(missing) > 1 else ""
            cause = f"needs {missing[0]}, which is not in it{others}"
            hint = "upload a file by its own name to take its pages only"
            raise CorruptSource(self._given, cause, hint=hint)

    def _check_master(self) -> None:
        for file in self._files:
            document = OmeFolder(file.path.parent, file.limits).document(file.path)
            if document is not None and document.is_binary_only:
                cause = f"needs {document.metadata_file}, which is not in it"
                hint = "upload a file by its own name to take its pages only"
                raise CorruptSource(self._given, cause, hint=hint)

    def pages(self) -> list[FramePage]:
        """Return where every page lies."""
        names = mm.channel_names(self._summary)
        labels = mm.position_labels(self._summary)
        pages: list[FramePage] = []
        for number, (file, mark) in enumerate(zip(self._files, self._marks, strict=True)):
            _check_uniform(file, self._files[0])
            tags = _Witnesses(file, mark, self._images)
            for page, (coords, tag) in enumerate(tags.places()):
                channel = tag and tag.text("Channel")
                position = tag and tag.text("PositionName")
                pages.append(
                    FramePage(
                        coords,
                        number,
                        page,
                        channel or _at(names, coords.channel) or self._ome_channel(coords),
                        position or _at(labels, coords.position) or self._ome_position(coords),
                    )
                )
            self._notes |= dict.fromkeys(tags.notes)
        return pages

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
        step = mm.positive(summary, "z-step_um", "ZStepUm")
        interval = mm.positive(summary, "Interval_ms", "WaitInterval")
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


class _Witnesses:
    """Decides the coordinates of every page of one file from three witnesses.

    The page's own tag counts. The index map and the OME-XML stand in where a tag is damaged, and check
    it otherwise: where tag and map contradict each other the OME-XML decides, and where it does not
    either, the file is damaged and refused. Only where most pages contradict (a writer with another
    convention) the tags are believed, with a note. Micro-Manager's OME-XML may name one page for several
    planes, so that it is never believed against tag and map.
    """

    def __init__(
        self, file: TiffSource, mark: MicroManagerFile, images: Sequence[OmeImage]
    ) -> None:
        self._file = file
        self._mark = mark
        self._images = images
        self._by_page: dict[int, set[FrameCoords]] | None = None
        self.notes: list[str] = []

    def places(self) -> list[tuple[FrameCoords, PageTag | None]]:
        count = len(self._file)
        if len(self._mark.index_map) > count:
            cause = f"its index map lists {len(self._mark.index_map)} images, it has {count} pages"
            raise CorruptSource(self._file.path, cause)
        decided = [self._place(page) for page in range(count)]
        disputed = [page for page, (_, _, agreed) in enumerate(decided) if not agreed]
        if disputed and (count < 2 or 2 * len(disputed) <= count):
            cause = "its tag and the file's index of pages tell different coordinates"
            raise CorruptSource(self._file.path, cause, page=disputed[0])
        if disputed:
            self.notes.append(f"{self._file.path.name}: the index of pages was not believed")
        return [(coords, tag) for coords, tag, _ in decided]

    def _place(self, page: int) -> tuple[FrameCoords, PageTag | None, bool]:
        tag = self._mark.page(page)
        mapped = self._mark.index_map.get(self._file.offset(page))
        said = self._said(tag, mapped, page)
        if said is None:
            return self._stand_in(page, mapped, tag), tag, True
        if said == mapped:
            return said, tag, True
        planes = self._planes(page)
        if mapped is None:
            return said, tag, not planes or _is_among(said, planes)
        if _is_among(said, planes) == _is_among(mapped, planes):
            return said, tag, False
        self.notes.append(f"{self._file.path.name}: page {page}: tag and index of pages differ")
        return (said if _is_among(said, planes) else mapped), tag, True

    def _said(
        self, tag: PageTag | None, mapped: FrameCoords | None, page: int
    ) -> FrameCoords | None:
        c, z, t, p = tag.indices() if tag else (None, None, None, None)
        if c is None or z is None or t is None:
            return None
        if p is None:
            planes = self._planes(page) if mapped is None else set()
            p = mapped.position if mapped else (min(planes).position if len(planes) == 1 else 0)
        return FrameCoords(c, z, t, p)

    def _stand_in(self, page: int, mapped: FrameCoords | None, tag: PageTag | None) -> FrameCoords:
        planes = self._planes(page)
        coords = mapped or (min(planes) if len(planes) == 1 else None)
        if coords is None:
            what = "has no tag" if tag is None else "its tag cannot be read"
            cause = f"{what} of Micro-Manager, and nothing else tells its coordinates"
            raise CorruptSource(self._file.path, cause, page=page)
        self.notes.append(f"{self._file.path.name}: page {page} has no readable coordinates itself")
        return coords

    def _planes(self, page: int) -> set[FrameCoords]:
        if self._by_page is None:
            self._by_page = {}
            for image in self._images:
                for data in image.tiff_data:
                    if (data.file_name or "").casefold() == self._file.path.name.casefold():
                        place = FrameCoords(*data.first, image.index)
                        self._by_page.setdefault(data.ifd or 0, set()).add(place)
        return self._by_page.get(page, set())


def _check_uniform(file: TiffSource, first: TiffSource) -> None:
    """Raise where a page is unlike the others: Micro-Manager writes a stack of equal images, in order.

    Each page's pixels lie between its own list of tags and the next page's. Where most pages keep to
    that, one that does not has a damaged offset.
    """
    wanted = first.layout(0)
    for page in range(len(file)):
        layout = file.layout(page)
        if (layout.shape, layout.dtype) != (wanted.shape, wanted.dtype):
            cause = (
                f"is {layout.shape} {layout.dtype}, the first page {wanted.shape} {wanted.dtype}"
            )
            raise CorruptSource(file.path, cause, page=page)
    starts = [*map(file.offset, range(len(file))), file.size]
    astray = [p for p in range(len(file)) if not starts[p] < file.pixel_offset(p) < starts[p + 1]]
    if astray and 2 * len(astray) < len(file):
        cause = "its pixels do not lie where Micro-Manager puts them: an offset is damaged"
        raise CorruptSource(file.path, cause, page=astray[0])


def _is_among(coords: FrameCoords, planes: Iterable[FrameCoords]) -> bool:
    return any(coords[:3] == plane[:3] for plane in planes)


def _without_unused(
    pages: list[FramePage], files: Sequence[TiffSource]
) -> tuple[list[FramePage], list[TiffSource]]:
    used = sorted({page.file for page in pages})
    place: Mapping[int, int] = {old: new for new, old in enumerate(used)}
    for number, file in enumerate(files):
        if number not in place:
            file.close()
    return [page._replace(file=place[page.file]) for page in pages], [files[n] for n in used]


def _at(names: Sequence[Any], index: int) -> str | None:
    return (names[index] or None) if index < len(names) else None
