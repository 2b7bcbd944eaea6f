"""What every reader must do, as tests: subclass `ReaderContract` and give it a ``spec`` and a ``source``.

::

    class TestMyReader(ReaderContract):
        @pytest.fixture
        def spec(self) -> ReaderSpec:
            return SPEC

        @pytest.fixture(params=["a.fmt", "b.fmt"])
        def source(self, request: pytest.FixtureRequest) -> Path:
            return DATA / request.param

A fixture ``options`` may be overridden. Each test opens the source anew. The suite needs pytest, which is
not a dependency of imaging_db.
"""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imaging_db.errors import ReaderError
from imaging_db.model import (
    Acquisition,
    FrameCoords,
    SourceFrame,
    clean_object,
    sha256_of_pixels,
)
from imaging_db.readers.base import Match, Reader, ReaderOptions, ReaderSpec, ReadLimits
from imaging_db.readers.frame_buffer import FrameBuffer

THREADS = 8


class ReaderContract:
    """The promises of `imaging_db.readers.base.Reader` and `ReaderSpec`."""

    @pytest.fixture
    def options(self) -> ReaderOptions:
        """Return the options that the source is opened with."""
        return ReaderOptions()

    def test_the_spec_names_itself_in_lower_case(self, spec: ReaderSpec) -> None:
        """Names are lower case, so that a config may spell them in any case."""
        assert spec.name == spec.name.lower().strip() != ""
        assert all(alias == alias.lower() for alias in spec.aliases)
        assert spec.summary

    def test_sniffing_knows_the_source_and_changes_nothing(
        self, spec: ReaderSpec, source: Path
    ) -> None:
        """The reader recognises its own format and leaves the files alone."""
        before = _listing(source)
        assert spec.sniff(source) > Match.NO
        assert _listing(source) == before

    def test_sniffing_says_no_to_what_cannot_be_opened(
        self, spec: ReaderSpec, tmp_path: Path
    ) -> None:
        """An empty file, text, an empty folder and nothing at all are not its format."""
        empty = tmp_path / "empty.tif"
        empty.touch()
        text = tmp_path / "text.tif"
        text.write_text("no image")
        folder = tmp_path / "folder"
        folder.mkdir()
        for path in (empty, text, folder, tmp_path / "absent"):
            assert spec.sniff(path) is Match.NO, path.name

    def test_what_is_not_there_is_refused_by_name(
        self, spec: ReaderSpec, options: ReaderOptions, tmp_path: Path
    ) -> None:
        """A missing source is a `ReaderError` that names it."""
        with pytest.raises(ReaderError, match="absent"):
            spec.open(tmp_path / "absent.tif", options)

    def test_it_is_a_reader(self, spec: ReaderSpec, source: Path, options: ReaderOptions) -> None:
        """What ``open`` returns follows the protocol."""
        with spec.open(source, options) as reader:
            assert isinstance(reader, Reader)

    def test_frames_are_counted_and_each_has_a_place_of_its_own(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """N pages are N frames with N coordinates."""
        with spec.open(source, options) as reader:
            frames = list(reader.frames())
            assert len(frames) == reader.acquisition.nbr_frames > 0
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert len({frame.coords for frame in frames}) == len(frames)
        assert len({(frame.source.path, frame.source.page) for frame in frames}) == len(frames)
        assert all(isinstance(frame.coords, FrameCoords) for frame in frames)
        assert all(type(n) is int and n >= 0 for frame in frames for n in frame.coords)

    def test_the_acquisition_agrees_with_its_frames(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Counts, sizes and names of the acquisition are those of the frames."""
        with spec.open(source, options) as reader:
            frames, told = list(reader.frames()), reader.acquisition
        _check_counts(told, frames)
        _check_sizes(told, frames)
        assert clean_object(told.metadata) == told.metadata
        assert told.format

    def test_frames_may_be_listed_again_and_side_by_side(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Listing the frames has no state."""
        with spec.open(source, options) as reader:
            first = list(reader.frames())
            for one, other in zip(reader.frames(), reader.frames(), strict=True):
                assert one == other
            assert list(reader.frames()) == first

    def test_metadata_are_clean_json(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Metadata of frames can be stored as they are."""
        with spec.open(source, options) as reader:
            for frame in reader.frames():
                assert clean_object(frame.metadata) == frame.metadata

    def test_pixels_are_as_promised(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Every frame decodes to its shape and type, native and contiguous."""
        with spec.open(source, options) as reader:
            for frame in reader.frames():
                pixels = reader.read(frame)
                assert pixels.shape == frame.shape
                assert pixels.dtype == np.dtype(frame.dtype)
                assert pixels.dtype.isnative
                assert pixels.flags.c_contiguous

    def test_pixels_belong_to_the_caller(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Writing into the array changes nothing for others."""
        with spec.open(source, options) as reader:
            frame = next(iter(reader.frames()))
            pixels = reader.read(frame)
            before = sha256_of_pixels(pixels)
            pixels[...] = 0
            assert sha256_of_pixels(reader.read(frame)) == before

    def test_pixels_can_be_read_into_memory_that_the_caller_lends(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """With ``out`` the same pixels lie in that array, whatever was in it before."""
        buffer = FrameBuffer()
        with spec.open(source, options) as reader:
            for frame in reader.frames():
                lent = buffer.for_frame(frame)
                lent.reshape(-1).view(np.uint8)[:] = 0xA5
                found = reader.read(frame, out=lent)
                assert found is lent
                assert sha256_of_pixels(found) == sha256_of_pixels(reader.read(frame))

    def test_memory_that_is_not_the_frames_is_refused(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Another shape or type, or read-only memory, is a `ValueError`; nothing is put there."""
        with spec.open(source, options) as reader:
            frame = next(iter(reader.frames()))
            wide = np.zeros((frame.shape[0] + 1, *frame.shape[1:]), frame.dtype)
            other = "uint8" if frame.dtype == "complex128" else "complex128"
            closed = np.zeros(frame.shape, frame.dtype)
            closed.flags.writeable = False
            for out in (wide, closed, np.zeros(frame.shape, other)):
                with pytest.raises(ValueError, match="out"):
                    reader.read(frame, out=out)
                assert not out.any()

    def test_threads_read_what_one_thread_reads(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Eight threads in different orders get the same pixels as one."""
        with spec.open(source, options) as reader:
            frames = list(reader.frames())
            expected = [sha256_of_pixels(reader.read(frame)) for frame in frames]
            rounds = max(1, math.ceil(4 * THREADS / len(frames)))
            gate = threading.Barrier(THREADS)

            def read_all(offset: int) -> list[str]:
                gate.wait(timeout=30)
                order = [(n + offset) % len(frames) for n in range(len(frames))] * rounds
                buffer = FrameBuffer()
                found = {}
                for n in order:
                    out = buffer.for_frame(frames[n]) if n % 2 else None
                    found[n] = sha256_of_pixels(reader.read(frames[n], out))
                return [found[n] for n in range(len(frames))]

            with ThreadPoolExecutor(THREADS) as pool:
                results = list(pool.map(read_all, range(THREADS)))
        assert results == [expected] * THREADS

    def test_sources_are_the_files_of_the_frames(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Every file is listed once, in the same order each time."""
        with spec.open(source, options) as reader:
            sources = list(reader.sources)
            assert {frame.source.path for frame in reader.frames()} <= set(sources)
            assert len(sources) == len(set(sources))
            assert all(path.is_file() for path in sources)
            assert list(reader.sources) == sources

    def test_closing_twice_is_allowed_and_leaves_no_file_open(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """Closing releases every file."""
        before = _open_files()
        reader = spec.open(source, options)
        reader.read(next(iter(reader.frames())))
        reader.close()
        reader.close()
        assert _open_files() == before

    def test_a_refused_source_leaves_no_file_open(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """A refusal releases every file too."""
        before = _open_files()
        tight = ReaderOptions(
            positions=options.positions,
            filename_parser=options.filename_parser,
            limits=ReadLimits(max_frame_bytes=1),
        )
        with pytest.raises(ReaderError):
            spec.open(source, tight)
        assert _open_files() == before

    def test_frames_above_the_limit_are_refused_before_they_are_read(
        self, spec: ReaderSpec, source: Path, options: ReaderOptions
    ) -> None:
        """The limit of a frame holds at opening."""
        with spec.open(source, options) as reader:
            largest = max(
                math.prod(frame.shape) * np.dtype(frame.dtype).itemsize for frame in reader.frames()
            )
        limits = ReadLimits(max_frame_bytes=largest - 1)
        with pytest.raises(ReaderError, match="limit"):
            spec.open(source, ReaderOptions(options.positions, options.filename_parser, limits))


def _check_counts(told: Acquisition, frames: list[SourceFrame]) -> None:
    coords = [frame.coords for frame in frames]
    assert told.nbr_channels == len({place.channel for place in coords}) == len(told.channel_names)
    assert told.nbr_slices == len({place.slice for place in coords})
    assert told.nbr_timepoints == len({place.timepoint for place in coords})
    assert told.nbr_positions == len({place.position for place in coords})
    assert told.nbr_positions == len(told.position_names)


def _check_sizes(told: Acquisition, frames: list[SourceFrame]) -> None:
    for name, found in (
        ("height", {frame.shape[0] for frame in frames}),
        ("width", {frame.shape[1] for frame in frames}),
        ("colors", {frame.shape[2] if len(frame.shape) == 3 else 1 for frame in frames}),
        ("dtype", {frame.dtype for frame in frames}),
    ):
        assert getattr(told, name) == (found.pop() if len(found) == 1 else None), name
    for size in (told.pixel_size_x_um, told.pixel_size_y_um, told.z_step_um, told.time_interval_s):
        assert size is None or (math.isfinite(size) and size > 0)


def _listing(source: Path) -> list[tuple[str, int, int]]:
    folder = source if source.is_dir() else source.parent
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in folder.iterdir())


def _open_files() -> set[str]:
    """Return the open regular files of this process, by number and path; empty where none can tell."""
    listing = Path("/proc/self/fd")
    if not listing.is_dir():
        return set()
    found = set()
    for link in listing.iterdir():
        try:
            target = os.readlink(link)  # noqa: PTH115  Path.readlink would resolve "pipe:[1]" oddly
        except OSError:
            continue
        if target.startswith("/") and Path(target).is_file():
            found.add(f"{link.name}:{target}")
    return found
