"""A reader over a set of OME-TIFF files that OME-XML alone describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imaging_db.errors import CorruptSource
from imaging_db.model import FrameCoords, JSONObject, clean_object
from imaging_db.readers.base import ReaderOptions
from imaging_db.readers.ome_image import OmeImage, images_of
from imaging_db.readers.ome_peek import peek_xml
from imaging_db.readers.ome_set import OmeSet, Reference
from imaging_db.readers.ome_xml import TiffData
from imaging_db.readers.position_choice import chosen_positions
from imaging_db.readers.tiff_layout import Layout
from imaging_db.readers.tiff_reader import (
    FramePage,
    TiffPagesReader,
    empty_acquisition,
    opened_together,
    without_unused,
)
from imaging_db.readers.tiff_source import TiffSource

_LARGEST_KEPT_XML = 2**20
_TYPES = {"float": "float32", "double": "float64", "bit": "bool", "complex": "complex64"}


def open_ome(given: Path, found: OmeSet, options: ReaderOptions) -> TiffPagesReader:
    """Return a reader of every plane of a set.

    Raises
    ------
    CorruptSource
        The metadata promise other planes than the files hold, or of another size.
    """
    images = [i for i in images_of(found.document, found.master) if not i.without_pixels]
    with opened_together(found.paths, options.limits) as files:
        planes = _Planes(found, images, files)
        pages, notes = planes.pages()
        if options.positions is not None:
            names = {image.index: image.name or "" for image in planes.images}
            kept = chosen_positions(given, names, options.positions)
            pages = [page for page in pages if page.coords.position in kept]
        pages, kept_files = without_unused(pages, files)
        first = planes.images[0]
        acquisition = replace(
            empty_acquisition("ome_tiff", metadata=_metadata(given, found)),
            pixel_size_x_um=first.pixel_size_x_um,
            pixel_size_y_um=first.pixel_size_y_um,
            z_step_um=first.z_step_um,
            time_interval_s=first.time_interval_s,
            nbr_expected=len(pages),
            notes=(*found.notes, *notes),
        )
        return TiffPagesReader(
            kept_files,
            pages,
            acquisition=acquisition,
            metadata_of=_PlaneMetadata({image.index: image for image in images}),
            other_sources=() if peek_xml(found.master) is None else (found.master,),
        )


@dataclass(frozen=True, slots=True)
class _PlaneMetadata:
    """Says of a frame what its Plane element says."""

    images: Mapping[int, OmeImage]

    def __call__(self, page: FramePage) -> JSONObject:
        c, z, t, p = page.coords
        plane = self.images[p].plane((c, z, t))
        return {"Plane": plane} if plane else {}


class _Planes:
    """Finds the page of every plane, and checks that pages and planes are as many."""

    def __init__(
        self, found: OmeSet, images: Sequence[OmeImage], files: Sequence[TiffSource]
    ) -> None:
        self._found = found
        self._files = files
        self._full = [_full_pages(file) for file in files]
        places = {file.path: number for number, file in enumerate(files)}
        self._places = {reference: places[path] for reference, path in found.files.items()}
        # An Image of reduced pages is a smaller copy of another one.
        self.images = [image for image in images if not self._is_reduced(image)] or images
        self._used: dict[tuple[int, int], FrameCoords] = {}
        self._types: dict[int, str] = {}
        self._notes: dict[str, None] = {}

    def pages(self) -> tuple[list[FramePage], tuple[str, ...]]:
        self._check_promise()
        pages = [page for image in self.images for page in self._pages_of(image)]
        self._check_every_page_used()
        return sorted(pages, key=lambda page: (page.file, page.page)), tuple(self._notes)

    def _check_promise(self) -> None:
        promised = sum(self._planes_in(image) for image in self.images)
        held = sum(self._full) or sum(map(len, self._files))
        if promised > held:
            what = "file has" if len(self._files) == 1 else "files have"
            cause = f"its metadata promise {promised} images, the {what} {held}"
            raise CorruptSource(self._found.master, cause)

    def _planes_in(self, image: OmeImage) -> int:
        return self._channels(image) * image.size_z * image.size_t

    def _first_layout(self, image: OmeImage) -> Layout:
        file, start = self._start_of(self._blocks(image)[0])
        return self._files[file].layout(min(start, len(self._files[file]) - 1))

    def _is_reduced(self, image: OmeImage) -> bool:
        return self._first_layout(image).is_reduced

    def _channels(self, image: OmeImage) -> int:
        layout = self._first_layout(image)
        samples = layout.shape[2] if len(layout.shape) == 3 else 1
        return image.channel_count(samples)

    def _blocks(self, image: OmeImage) -> Sequence[TiffData]:
        return image.tiff_data or (TiffData((0, 0, 0), None, None, None, None),)

    def _start_of(self, data: TiffData) -> tuple[int, int]:
        reference: Reference = (data.uuid, data.file_name)
        return self._places.get(reference, 0), data.ifd or 0

    def _pages_of(self, image: OmeImage) -> Iterator[FramePage]:
        channels, found = self._channels(image), 0
        base = image.base(channels)
        for data in self._blocks(image):
            file, start = self._start_of(data)
            # a TiffData without numbers means every page of its file
            count = data.count or (1 if data.ifd is not None else self._full[file])
            first = (data.first[0] - base[0], data.first[1] - base[1], data.first[2] - base[2])
            run = image.run(first, channels=channels, count=count, source=self._found.master)
            for page, (c, z, t) in enumerate(run, start=start):
                found += 1
                yield self._page(image, file, page, FrameCoords(c, z, t, image.index))
        if found != self._planes_in(image):
            cause = (
                f"its metadata promise {self._planes_in(image)} planes and place {found} of them"
            )
            raise CorruptSource(self._found.master, cause)

    def _page(self, image: OmeImage, file: int, page: int, coords: FrameCoords) -> FramePage:
        source = self._files[file]
        if page >= len(source):
            cause = f"its metadata promise page {page} ({coords}), the file has {len(source)} pages"
            raise CorruptSource(source.path, cause)
        other = self._used.setdefault((file, page), coords)
        if other is not coords:
            raise CorruptSource(source.path, f"is claimed by {other} and {coords}", page=page)
        layout = source.layout(page)
        if layout.shape[:2] != (image.height, image.width):
            size, said = "{1} x {0}".format(*layout.shape), f"{image.width} x {image.height}"
            cause = f"is {size} pixels, its metadata describe an image of {said}"
            raise CorruptSource(source.path, cause, page=page)
        first = self._types.setdefault(image.index, layout.dtype)
        if layout.dtype != first:
            cause = f"its pixels are {layout.dtype}, others of the same image {first}"
            raise CorruptSource(source.path, cause, page=page)
        if _TYPES.get(image.pixel_type, image.pixel_type) != layout.dtype:
            note = f"pixels are {layout.dtype}, the metadata say {image.pixel_type or 'nothing'}"
            self._notes[note] = None
        names = image.channel_names
        channel = names[coords.channel] if coords.channel < len(names) else None
        return FramePage(coords, file, page, channel, image.name or image.stage_label)

    def _check_every_page_used(self) -> None:
        for number, file in enumerate(self._files):
            unused = [page for page in range(len(file)) if (number, page) not in self._used]
            reduced = [page for page in unused if file.layout(page).is_reduced]
            if len(reduced) < len(unused):
                page = next(page for page in unused if page not in reduced)
                raise CorruptSource(file.path, "belongs to no plane of its metadata", page=page)
            if reduced:
                self._notes[f"{file.path.name}: reduced pages left out: {len(reduced)}"] = None


def _full_pages(file: TiffSource) -> int:
    return sum(not file.layout(page).is_reduced for page in range(len(file)))


def _metadata(given: Path, found: OmeSet) -> JSONObject:
    text = found.document.text
    kept: JSONObject = {"file_origin": str(given), "OME": found.document.root.as_json()}
    if len(text) <= _LARGEST_KEPT_XML:
        kept["OME-XML"] = text
    return clean_object(kept)
