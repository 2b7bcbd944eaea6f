"""Kinds of work on ingest jobs that are disturbed: create, join, cancel."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.commands import Done
from tests.support.golden import Golden
from tests.torture.bench import Line
from tests.torture.works import Stages, Work, commit_before

_OF_UNITS = ("frame.read", "frame.encoded", "object.written", "object.named")
"""Stages that one unit passes: an error there is the unit's, which is tried again."""


@dataclass
class _Ingest(Work):
    """A job of three units, whose dataset is in the end what an upload makes."""

    @property
    def creating(self) -> Line:
        source = str(self.bench.source("frames"))
        return self.bench.saying(
            "ingest", "create", source, "--serial", self.serial, "--unit_frames", "2"
        )

    def joining(self, *more: str) -> Line:
        return self.bench.saying("ingest", "join", self.serial, "-p", "2", *more)

    def states(self) -> list[Golden | None]:
        return [None, self.bench.truth("frames")]

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        return [None]

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) == self.bench.truth("frames")


@dataclass
class IngestCreate(_Ingest):
    """A job that is created; a runner then makes the dataset of it."""

    @property
    def line(self) -> Line:
        return self.creating

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) is None
        self.bench.do(self.joining())
        super().check_finished()


@dataclass
class IngestJoin(_Ingest):
    """A job that one runner does."""

    def prepare(self) -> None:
        self.bench.do(self.creating)

    @property
    def line(self) -> Line:
        return self.joining()

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        if stages[place] in _OF_UNITS:
            return self.states()
        published = commit_before(stages, "job.complete")
        return [self.bench.truth("frames") if place >= published else None]

    def check_told(self, done: Done, *, stage: str, code: int) -> None:
        if stage in _OF_UNITS and code == 1:
            assert done.code == 0, f"the unit was not tried again: {done.told}"
        else:
            super().check_told(done, stage=stage, code=code)


@dataclass
class IngestCancel(_Ingest):
    """A job that is cancelled, whose runner died before it wrote rows of what it had stored."""

    def prepare(self) -> None:
        self.bench.do(self.creating)
        died = self.bench.run(self.joining("--lease", "1"), failpoint="objects.flushed:kill")
        assert died.code == -9, died.told

    @property
    def line(self) -> Line:
        return self.bench.saying("ingest", "cancel", self.serial, "--yes")

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) is None
        assert not [key for key in self.bench.objects() if self.serial in key]
        self.bench.do(self.creating)
        self.bench.do(self.joining())
        super().check_finished()
