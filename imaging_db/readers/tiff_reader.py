"""A reader over the pages of TIFF files, for formats that know which page is which frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy.typing as npt

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.model import Acquisition, FrameCoords, JSONObject, PageRef, SourceFrame
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.tiff_source import AlikeFiles, TiffSource

# A folder of thousands of files must not need a handle for each.
MOST_OPEN_FILES = 32


class FramePage(NamedTuple):
    """Which page of which file (by its place in the list) is which frame."""

    coords: FrameCoords
    file: int
    page: int
    channel_name: str | None = None
    position_name: str | None = None


class PackedPages:
    """Frame pages in some numbers each; a page is made when it is asked for."""

    def __init__(self, pages: Sequence[FramePage]) -> None:
        coords = [page.coords for page in pages]
        self._columns = [array("q", axis) for axis in zip(*coords, strict=True)]
        self._files = array("I", [page.file for page in pages])
        self._pages = array("I", [page.page for page in pages])
        names = [(page.channel_name, page.position_name) for page in pages]
        self._names = list(dict.fromkeys(names))
        number = {pair: place for place, pair in enumerate(self._names)}
        self._name_ids = array("I", [number[pair] for pair in names])

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, index: int) -> FramePage:
        c, z, t, p = self._columns
        channel, position = self._names[self._name_ids[index]]
        coords = FrameCoords(c[index], z[index], t[index], p[index])
        return FramePage(coords, self._files[index], self._pages[index], channel, position)

    def __iter__(self) -> Iterator[FramePage]:
        return map(self.__getitem__, range(len(self)))


class TiffPagesReader:
    """Frames that are pages of TIFF files. A context manager that owns and closes the files.

    ``metadata_of`` is asked for a frame's metadata when the frame is yielded. ``acquisition`` comes with
    what the format says; counts, names, shape and type are filled in from the pages.

    Raises
    ------
    CorruptSource
        Two pages claim the same coordinates, or there is no page.
    """

    def __init__(
        self,
        files: Sequence[TiffSource],
        pages: Sequence[FramePage],
        *,
        acquisition: Acquisition,
        metadata_of: Callable[[FramePage], JSONObject],
        other_sources: Sequence[Path] = (),
    ) -> None:
        self._files = tuple(files)
        self._metadata_of = metadata_of
        self._sources = (*(file.path for file in files), *other_sources)
        self._check_distinct(pages)
        self._acquisition = self._completed(acquisition, pages)
        self._pages = PackedPages(pages)

    @property
    def acquisition(self) -> Acquisition:
        """Return what the source says of the whole acquisition."""
        return self._acquisition

    @property
    def sources(self) -> Sequence[Path]:
        """Return every file that belongs to the source, in a stable order."""
        return self._sources

    def frames(self) -> Iterator[SourceFrame]:
        """Yield every frame once, in the order of files and pages, without reading pixels."""
        for index, page in enumerate(self._pages):
            file = self._files[page.file]
            layout = file.layout(page.page)
            yield SourceFrame(
                index=index,
                coords=page.coords,
                shape=layout.shape,
                dtype=layout.dtype,
                source=PageRef(file.path, page.page),
                channel_name=page.channel_name,
                position_name=page.position_name,
                metadata=self._metadata_of(page),
            )

    def read(self, frame: SourceFrame, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the stored pixels of one frame, in ``out`` where that is given; see `Reader.read`.

        Raises
        ------
        CorruptSource
            The page cannot be decoded, or not to the promised shape and dtype.
        """
        page = self._pages[frame.index]
        pixels = self._files[page.file].read(page.page, out)
        if pixels is out:  # which suits the frame, or `read` had refused it
            return pixels
        if pixels.shape != frame.shape or pixels.dtype.name != frame.dtype:
            cause = (
                f"decodes to {pixels.shape} {pixels.dtype.name}, not {frame.shape} {frame.dtype}"
            )
            raise CorruptSource(frame.source.path, cause, page=page.page)
        return pixels

    def close(self) -> None:
        """Close every file; closing twice is allowed."""
        for file in self._files:
            file.close()

    def __enter__(self) -> TiffPagesReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_distinct(self, pages: Sequence[FramePage]) -> None:
        if len({page.coords for page in pages}) < len(pages):
            seen: dict[FrameCoords, FramePage] = {}
            for page in pages:
                other = seen.setdefault(page.coords, page)
                if other is not page:
                    first = PageRef(self._files[other.file].path, other.page)
                    cause = f"has the same coordinates ({page.coords}) as {first}"
                    raise CorruptSource(self._files[page.file].path, cause, page=page.page)
        if not pages:
            raise CorruptSource(self._files[0].path, "holds no frame")

    def _completed(self, acquisition: Acquisition, pages: Sequence[FramePage]) -> Acquisition:
        coords = [page.coords for page in pages]
        kinds = self._kinds(pages)
        shapes, dtypes = {shape for shape, _ in kinds}, {dtype for _, dtype in kinds}
        channels = {p.coords.channel: p.channel_name for p in reversed(pages)}
        positions = {p.coords.position: p.position_name for p in reversed(pages)}
        return replace(
            acquisition,
            nbr_frames=len(coords),
            nbr_channels=len(channels),
            nbr_slices=len({c.slice for c in coords}),
            nbr_timepoints=len({c.timepoint for c in coords}),
            nbr_positions=len(positions),
            height=_only(shape[0] for shape in shapes),
            width=_only(shape[1] for shape in shapes),
            colors=_only(shape[2] if len(shape) == 3 else 1 for shape in shapes),
            dtype=_only(dtypes),
            channel_names=_by_index(channels),
            position_names=_by_index(positions),
        )

    def _kinds(self, pages: Sequence[FramePage]) -> set[tuple[tuple[int, ...], str]]:
        """Return the shapes and types of the frames."""
        of_files = [{(x.shape, x.dtype) for x in file.layouts()} for file in self._files]
        if all(len(kinds) == 1 for kinds in of_files):
            return set().union(*(of_files[file] for file in {page.file for page in pages}))
        layouts = (self._files[page.file].layout(page.page) for page in pages)
        return {(layout.shape, layout.dtype) for layout in layouts}


def empty_acquisition(format: str, *, metadata: JSONObject) -> Acquisition:
    """Return an acquisition without counts, for `TiffPagesReader` to complete."""
    return Acquisition(
        format=format,
        nbr_frames=0,
        nbr_channels=0,
        nbr_slices=0,
        nbr_timepoints=0,
        nbr_positions=0,
        height=None,
        width=None,
        colors=None,
        dtype=None,
        metadata=metadata,
    )


@contextmanager
def opened_together(paths: Iterable[Path], limits: ReadLimits) -> Iterator[list[TiffSource]]:
    """Open TIFF files for a reader that takes them over; all are closed if the block fails."""
    names = list(paths)
    with ExitStack() as stack:
        keep_open = len(names) <= MOST_OPEN_FILES
        alike = AlikeFiles()
        files = [
            stack.enter_context(TiffSource(path, limits, keep_open=keep_open, alike=alike))
            for path in names
        ]
        if sum(map(len, files)) > limits.max_frames:
            cause = f"its files hold more than {limits.max_frames} pages"
            raise UnsupportedFormat(names[0].parent, cause, hint="raise max_frames")
        yield files
        stack.pop_all()


def without_unused(
    pages: Sequence[FramePage], files: Sequence[TiffSource]
) -> tuple[list[FramePage], list[TiffSource]]:
    """Return pages and files without the files that no page is of; those are closed."""
    used = sorted({page.file for page in pages})
    place = {old: new for new, old in enumerate(used)}
    for number, file in enumerate(files):
        if number not in place:
            file.close()
    return [page._replace(file=place[page.file]) for page in pages], [files[n] for n in used]


def _only(values: Iterable[Any]) -> Any:
    """Return the value that all share, None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _by_index(names: Mapping[int, str | None]) -> tuple[str | None, ...]:
    return tuple(names[index] for index in sorted(names))
