"""Where the pages of a Micro-Manager file lie: what its page tags, its index and its OME-XML say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import intern
from typing import NamedTuple

from imaging_db.errors import CorruptSource
from imaging_db.model import FrameCoords
from imaging_db.readers.micro_manager import MicroManagerFile, PageTag
from imaging_db.readers.ome_image import OmeImage
from imaging_db.readers.tiff_source import TiffSource


class PagePlace(NamedTuple):
    """Where a page lies, and what its own tag calls channel and position."""

    coords: FrameCoords
    channel_name: str | None
    position_name: str | None


class PagePlaces:
    """Decides the coordinates of every page of one file from three witnesses.

    The page's own tag counts. The index of pages and the OME-XML stand in where a tag is damaged, and
    check it otherwise: where tag and index contradict each other the OME-XML decides, and where it does
    not either, the file is damaged and refused. Only where most pages contradict (a writer with another
    convention) the tags are believed, with a note. Micro-Manager's OME-XML may name one page for several
    planes that it skipped, so that it is never believed against tag and index.

    Micro-Manager completes the last timepoint of a stopped acquisition with blank pages; they have no
    tag of their own, and only the OME-XML tells where they belong.
    """

    def __init__(
        self, file: TiffSource, mark: MicroManagerFile, images: Sequence[OmeImage]
    ) -> None:
        self._file = file
        self._mark = mark
        self._images = images
        self._by_page: dict[int, set[FrameCoords]] | None = None
        self._without_tag = 0
        self._settled = 0
        self.notes: list[str] = []

    def places(self) -> list[PagePlace]:
        """Return where every page lies.

        Raises
        ------
        CorruptSource
            The index lists more images than there are pages, or a page's place cannot be told.
        """
        count = len(self._file)
        if len(self._mark.index_map) > count:
            cause = f"its index lists {len(self._mark.index_map)} images, it has {count} pages"
            raise CorruptSource(self._file.path, cause)
        places: list[PagePlace] = []
        disputed: list[int] = []
        for page in range(count):
            tag = self._mark.page(page)
            coords, agreed = self._place(page, tag)
            if not agreed:
                disputed.append(page)
            places.append(PagePlace(coords, _name(tag, "Channel"), _name(tag, "PositionName")))
        if disputed and (count < 2 or 2 * len(disputed) <= count):
            cause = "its tag and the file's index of pages tell different coordinates"
            raise CorruptSource(self._file.path, cause, page=disputed[0])
        self._take_notes(believed=not disputed)
        return places

    def _take_notes(self, *, believed: bool) -> None:
        name = self._file.path.name
        if not believed:
            self.notes.append(
                f"{name}: its index of pages contradicts its tags and was not believed"
            )
        if self._without_tag:
            what = "pages have no readable tag (blank, or damaged); they were placed by its index"
            self.notes.append(f"{name}: {self._without_tag} {what}")
        if self._settled:
            self.notes.append(f"{name}: the OME-XML settled where {self._settled} pages lie")

    def _place(self, page: int, tag: PageTag | None) -> tuple[FrameCoords, bool]:
        """Return where a page lies, and whether that is settled."""
        mapped = self._mark.index_map.get(self._file.offset(page))
        said = self._said(tag, mapped, page)
        if said is None:
            return self._stand_in(page, mapped, tag), True
        if said == mapped:
            return mapped, True
        planes = self._planes(page)
        if mapped is None:
            return said, not planes or _is_among(said, planes)
        if _is_among(said, planes) == _is_among(mapped, planes):
            return said, False
        self._settled += 1
        return (said if _is_among(said, planes) else mapped), True

    def _said(
        self, tag: PageTag | None, mapped: FrameCoords | None, page: int
    ) -> FrameCoords | None:
        """Return what the tag says; an index it leaves out is the other witnesses', or 0."""
        indices = tag.indices() if tag else (None,) * 4
        c, z, t, p = indices
        if c is not None and z is not None and t is not None and p is not None:
            return FrameCoords(c, z, t, p)
        if all(index is None for index in indices):
            return None
        other = mapped or FrameCoords(0, 0, 0, 0)
        if mapped is None:
            planes = self._planes(page)
            other = min(planes) if len(planes) == 1 else other
        return FrameCoords(*(o if i is None else i for i, o in zip(indices, other, strict=True)))

    def _stand_in(self, page: int, mapped: FrameCoords | None, tag: PageTag | None) -> FrameCoords:
        planes = self._planes(page)
        coords = mapped or (min(planes) if len(planes) == 1 else None)
        if coords is None:
            what = "has no tag" if tag is None else "its tag of"
            what += " of Micro-Manager" if tag is None else " Micro-Manager cannot be read"
            cause = f"{what}, and nothing else tells its coordinates"
            raise CorruptSource(self._file.path, cause, page=page)
        self._without_tag += 1
        return coords

    def _planes(self, page: int) -> set[FrameCoords]:
        """Return the planes that the OME-XML keeps in a page of this file."""
        if self._by_page is None:
            self._by_page = {}
            blocks = [(image.index, data) for image in self._images for data in image.tiff_data]
            alone = (
                len({data.file_name for _, data in blocks}) == 1
            )  # then its name does not matter
            own = self._file.path.name.casefold()
            for index, data in blocks:
                if alone or (data.file_name or "").casefold() == own:
                    places = self._by_page.setdefault(data.ifd or 0, set())
                    places.add(FrameCoords(*data.first, index))
        return self._by_page.get(page, set())


def _name(tag: PageTag | None, field: str) -> str | None:
    """Return a name that a page tells; equal names are one object, for there are few in many pages."""
    name = None if tag is None else tag.text(field)
    return None if name is None else intern(name)


def _is_among(coords: FrameCoords, planes: Iterable[FrameCoords]) -> bool:
    return any(coords[:3] == plane[:3] for plane in planes)
