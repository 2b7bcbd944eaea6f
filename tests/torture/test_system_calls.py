"""The N-th system call of a kind kills the command, or fails, for N = 1, 2, 3... until it runs untouched.

And the order of the calls: what has its final name is on disk before a row of it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.support.matrix import Injected
from tests.support.strace import calls_of, failing, missing
from tests.torture.amount import LEVEL, thinned
from tests.torture.bench import Bench
from tests.torture.works import Delete, Download, Overwrite, Upload, Work

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "strace works")

KILL = "signal=KILL"
NAMING = "link,linkat,rename,renameat,renameat2"
SYNCING = "fsync,fdatasync,syncfs"
MOST = 400
CODES = {0, 2, 3, 5}
"""What a command may come to whose calls fail: done all the same, or an error that it knows."""


@dataclass(frozen=True)
class Kind:
    """System calls of a work that fail in some way, one after the other."""

    work: Callable[[Bench], Work]
    calls: str
    what: str

    def __str__(self) -> str:
        name = getattr(self.work, "__name__", "work").lower()
        return f"{name}-{self.calls.partition(',')[0]}-{self.what.partition('=')[2]}"


def files(bench: Bench) -> Work:
    return Upload(bench, "files")


def kinds(work: Callable[[Bench], Work], **calls: str) -> list[Kind]:
    """Kinds of a work: for each call what it fails with, several with blanks between."""
    named = {"naming": NAMING, "unlink": "unlink,unlinkat", "syncing": SYNCING}
    return [
        Kind(work, named.get(name, name), KILL if what == "KILL" else f"error={what}")
        for name, whats in calls.items()
        for what in whats.split()
    ]


LOCAL = [
    *kinds(Upload, naming="KILL EIO ENOSPC", unlink="KILL EIO", write="KILL ENOSPC EIO EINTR"),
    *kinds(Upload, pwrite64="KILL ENOSPC EIO", syncing="KILL EIO", openat="EMFILE"),
    *kinds(files, naming="KILL", write="KILL ENOSPC", syncing="EIO"),
    *kinds(Overwrite, unlink="KILL EIO", pwrite64="KILL", naming="KILL"),
    *kinds(Download, naming="KILL ENOSPC", write="KILL ENOSPC", unlink="KILL"),
    *kinds(Delete, unlink="KILL EIO", pwrite64="KILL ENOSPC", syncing="KILL"),
]
SENT = [
    *kinds(Upload, sendto="KILL", recvfrom="KILL ECONNRESET", connect="KILL ECONNREFUSED"),
    *kinds(Download, sendto="KILL", recvfrom="ECONNRESET"),
    *kinds(Delete, sendto="KILL", recvfrom="KILL"),
]
RESET = Kind(Upload, "sendto", "error=ECONNRESET")
"""A send that fails on a connection which lives is for S3 only: libpq then waits for the server's last
words, which do not come."""


def numbers() -> Iterator[int]:
    """Every number at length 2; every number up to 8 and then an eighth more at 1; otherwise 1, 3, 9, 27..."""
    number = 1
    while True:
        yield number
        number = number * 3 if LEVEL == 0 else number + 1 + (number // 8 if LEVEL == 1 else 0)


@pytest.mark.fault("K2")
@pytest.mark.parametrize(
    ("bench", "kind"),
    [
        pytest.param(combination, kind, id=f"{combination}-{kind}")
        for turn, (combination, some) in enumerate(
            (("sqlite+local", LOCAL), ("postgres+local", SENT), ("sqlite+moto", [*SENT, RESET]))
        )
        for kind in thinned(some, 4, offset=turn)
    ],
    indirect=["bench"],
)
def test_a_command_whose_nth_system_call_fails_is_finished_by_the_same_command(
    bench: Bench, kind: Kind, injected: Injected
) -> None:
    for number in numbers():
        assert number < MOST, "it never ran untouched"
        work = kind.work(bench)
        work.prepare()
        if not fail_once(bench, work, kind, number):
            break
        injected.add()
    assert bench.unfinished() == []


def fail_once(bench: Bench, work: Work, kind: Kind, number: int) -> bool:
    """Whether there was an N-th call to fail; then the same command again has finished the work."""
    command, argv = work.line
    done, met = failing(
        bench.commands,
        command,
        argv,
        cwd=bench.lab.folder,
        calls=kind.calls,
        what=kind.what,
        when=str(number),
    )
    told = f"call {number}: {done.code}: {done.told}"
    try:
        if done.code == 0:
            work.check_finished()
        elif kind.what == KILL:
            assert done.code == -9
        else:
            assert done.code in CODES
            assert (
                len(done.errors()) == 1 or kind.calls == "write"
            )  # which may be that of this line
        work.check_meanwhile()
        if met:
            again = bench.run(work.line)
            told += f"\nagain: {again.code}: {again.told}"
            assert again.code in ({0, work.gone} if done.code in (0, -9) else {0})
            work.check_finished()
    except AssertionError as error:
        error.add_note(told)
        raise
    return met


@pytest.mark.fault("K8")
@pytest.mark.parametrize("bench", ["sqlite+local", "postgres+local"], indirect=True)
@pytest.mark.parametrize("name", ["frames", "files"])
def test_what_has_its_name_is_on_disk_before_its_row_is_committed(
    bench: Bench, name: str, injected: Injected
) -> None:
    work = Upload(bench, name)
    command, argv = work.line
    names = f"{NAMING},{SYNCING},sendto,pwrite64,write"
    done, calls = calls_of(bench.commands, command, argv, cwd=bench.lab.folder, names=names)
    assert done.code == 0, done.told
    work.check_finished()
    store, database = bench.lab.settings.store.access, bench.lab.settings.database
    log = database.dbname + "-wal" if database.is_sqlite else ""
    named: list[str] = []
    unsynced: set[str] = set()
    unlogged = False
    commits = 0
    for call in calls:
        paths = call.paths()
        if call.name in NAMING.split(",") and work.serial in paths[-1]:
            named.append(paths[-1])
            unsynced.add(paths[-1])
        elif call.name == "syncfs" and paths[0] == store:
            unsynced.clear()
        elif call.name in ("fsync", "fdatasync"):
            unsynced -= set(paths)
            unlogged = unlogged and log not in paths
        elif (log and log in paths) or (call.name == "sendto" and '\\vCOMMIT\\0"' in call.words):
            assert not unsynced, f"{call} before {sorted(unsynced)} was on disk"
            unlogged, commits = bool(log), commits + bool(named)
        elif call.name == "write" and f"uploaded {work.serial}" in call.words:
            assert not unlogged, "success was told before the transaction was on disk"
    assert len(set(named)) == len(bench.truth(name)["store"])
    assert commits >= 2, "no commit of rows and none of the dataset was seen"
    injected.add(len(named))
