"""Kinds of work that are disturbed, each with what may be seen after a fault and what must be in the end.

A work prepares a dataset, tells the command that is disturbed, and knows by the stages that the command had
passed which states are right: the old one, none, or the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from imaging_db.model import sha256_of_bytes
from imaging_db.stores.base import is_temporary
from tests.support.commands import Done
from tests.support.golden import Golden, golden, tree
from tests.torture.bench import Bench, Line, check_told

Stages = Sequence[str]
COMMITTED = "catalog.committed"


def last(stages: Stages, stage: str) -> int:
    """Where a stage was passed for the last time; after the end where it never was."""
    found = [place for place, name in enumerate(stages) if name == stage]
    return found[-1] if found else len(stages)


def commit_before(stages: Stages, stage: str) -> int:
    """Where the commit lies that made a stage come about."""
    return last(stages[: stages.index(stage)], COMMITTED)


@dataclass
class Work:
    """What is common to all: prepared once for every fault, under a serial of its own."""

    bench: Bench
    serial: str = field(init=False)
    gone: ClassVar[int] = 0
    """The exit code of the same command after it had succeeded."""

    def __post_init__(self) -> None:
        self.serial = self.bench.new()

    def prepare(self) -> None:
        """Make what the command needs."""

    @property
    def line(self) -> Line:
        """The command that is disturbed, and run again."""
        raise NotImplementedError

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        """What may be seen after the command was stopped at that place of an undisturbed run's stages."""
        raise NotImplementedError

    def check_disturbed(self, stages: Stages, place: int) -> None:
        """Nothing half done can be seen."""
        assert self.bench.seen(self.serial) in self.expected(stages, place)

    def check_told(self, done: Done, *, stage: str, code: int) -> None:
        """The command, stopped at a stage, has the exit code of what stopped it, and says so."""
        check_told(done, code=code)

    def check_meanwhile(self) -> None:
        """Nothing half done can be seen, whenever the command was stopped."""
        assert self.bench.seen(self.serial) in self.states()

    def states(self) -> list[Golden | None]:
        """All that may ever be seen of the dataset."""
        raise NotImplementedError

    def check_finished(self) -> None:
        """The state is that of an undisturbed run."""
        raise NotImplementedError


@dataclass
class Upload(Work):
    """A new dataset."""

    name: str = "frames"

    @property
    def line(self) -> Line:
        return self.bench.uploading(self.serial, self.name)

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        published = last(stages, COMMITTED)
        return [self.bench.truth(self.name) if place >= published else None]

    def states(self) -> list[Golden | None]:
        return [None, self.bench.truth(self.name)]

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) == self.bench.truth(self.name)


@dataclass
class Overwrite(Upload):
    """A dataset of another source, replaced."""

    name: str = "frames"
    old: str = "other"

    def prepare(self) -> None:
        self.bench.do(self.bench.uploading(self.serial, self.old))

    @property
    def line(self) -> Line:
        return self.bench.uploading(self.serial, self.name, "--overwrite")

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        if place < commit_before(stages, "dataset.hidden"):
            return [self.bench.truth(self.old)]
        return super().expected(stages, place)

    def states(self) -> list[Golden | None]:
        return [self.bench.truth(self.old), *super().states()]


@dataclass
class Download(Work):
    """A dataset, or a selection of it, into a folder of its own."""

    selection: tuple[str, ...] = ()
    name: str = "frames"

    def prepare(self) -> None:
        self.bench.do(self.bench.uploading(self.serial, self.name))

    @property
    def dest(self) -> Path:
        return self.bench.lab.folder / f"dest-{self.serial[-4:]}"

    @property
    def line(self) -> Line:
        return self.bench.downloading(self.serial, self.dest, *self.selection)

    def whole(self) -> dict[str, str]:
        """The hashes of the objects that the folder must hold, by their names."""
        store = self.bench.truth(self.name)["store"]
        return {
            name: text for name, text in store.items() if not self.selection or "_c001_" in name
        }

    def check_disturbed(self, stages: Stages, place: int) -> None:
        self.check_meanwhile()

    def check_meanwhile(self) -> None:
        assert self.bench.seen(self.serial) == self.bench.truth(self.name)
        whole = self.whole()
        for name, text in tree(self.dest / self.serial).items():
            if name in whole:
                assert text == whole[name], name
            elif name == "frames_meta.csv":
                lines = (self.dest / self.serial / name).read_text("utf-8").splitlines()
                assert len(lines) == 1 + len(whole)
            else:
                assert name == "global_metadata.json" or is_temporary(name.rpartition("/")[2]), name

    def check_finished(self) -> None:
        beside = {"frames_meta.csv", "global_metadata.json"} if self.name == "frames" else set()
        folder = self.dest / self.serial
        assert tree(folder, without=beside) == self.whole()
        assert set(tree(folder)) == {*self.whole(), *beside}


@dataclass
class Delete(Work):
    """A dataset that goes away."""

    name: str = "frames"
    gone: ClassVar[int] = 2

    def prepare(self) -> None:
        self.bench.do(self.bench.uploading(self.serial, self.name))

    @property
    def line(self) -> Line:
        return self.bench.saying("delete", self.serial, "--yes")

    def expected(self, stages: Stages, place: int) -> list[Golden | None]:
        hidden = commit_before(stages, "dataset.hidden")
        return [None if place >= hidden else self.bench.truth(self.name)]

    def states(self) -> list[Golden | None]:
        return [None, self.bench.truth(self.name)]

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) is None


@dataclass
class Collect(Work):
    """A store with all that killed runs leave behind, collected; and a ready dataset that stays."""

    name: str = "frames"

    def prepare(self) -> None:
        bench, directory = self.bench, f"raw_frames/{self.serial}"
        for other, failpoint in ((self.serial, "objects.flushed"), (bench.new(), "object.named:2")):
            bench.run(bench.uploading(other, self.name), failpoint=f"{failpoint}:kill")
        self.kept = bench.new()
        bench.do(bench.uploading(self.kept, self.name))
        for key in (
            f"{directory.replace(self.serial, self.kept)}/extra.png",
            f"{directory.replace(self.serial, bench.new())}/im_c000_z000_t000_p000.png",
        ):
            bench.db.store.put(key, b"nobody's", sha256=sha256_of_bytes(b"nobody's"))

    @property
    def line(self) -> Line:
        return self.bench.saying("gc", "--older_than", "0", "--unknown", "--yes")

    def check_disturbed(self, stages: Stages, place: int) -> None:
        self.check_meanwhile()

    def check_meanwhile(self) -> None:
        assert self.bench.seen(self.serial) is None
        found = golden(self.bench.db, self.kept)
        assert found is not None
        for part in ("store", "sizes"):
            found[part].pop("extra.png", None)
        assert found == self.bench.truth(self.name)

    def check_finished(self) -> None:
        bench = self.bench
        assert bench.seen(self.kept) == bench.truth(self.name)
        assert bench.unfinished() == []
        assert bench.temporaries() == []
        assert not [k for k in bench.objects() if self.serial in k]


@dataclass
class Repair(Work):
    """A dataset of which one object is damaged and one is gone, repaired from its source."""

    name: str = "frames"

    def prepare(self) -> None:
        bench = self.bench
        bench.do(bench.uploading(self.serial, self.name))
        truth, store = bench.truth(self.name), bench.db.store
        directory = truth["dataset"]["storage_dir"].replace("SERIAL", self.serial)
        gone, damaged = sorted(truth["store"])[:2]
        store.delete(f"{directory}/{gone}")
        store.delete(f"{directory}/{damaged}")
        store.put(f"{directory}/{damaged}", b"rotten", sha256=sha256_of_bytes(b"rotten"))

    @property
    def line(self) -> Line:
        source = str(self.bench.source(self.name))
        return self.bench.saying("repair", self.serial, "--source", source)

    def check_disturbed(self, stages: Stages, place: int) -> None:
        self.check_meanwhile()

    def check_meanwhile(self) -> None:
        """Rows stay as they are, right objects stay right, and nothing new is wrong."""
        truth = self.bench.truth(self.name)
        found = golden(self.bench.db, self.serial)
        assert found is not None
        gone, damaged, *others = sorted(truth["store"])
        assert {found["store"][name] for name in others} == {truth["store"][n] for n in others}
        assert found["store"].get(gone) in (None, truth["store"][gone])
        rotten = sha256_of_bytes(b"rotten")
        assert found["store"].get(damaged) in (None, rotten, truth["store"][damaged])
        assert found["objects"] == truth["objects"]

    def check_finished(self) -> None:
        assert self.bench.seen(self.serial) == self.bench.truth(self.name)
