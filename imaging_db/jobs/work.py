"""The work of a unit: its frames read, encoded and put, and a receipt for each; never the catalog."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from imaging_db.errors import ImagingDBError, ObjectConflict, StoreUnavailable
from imaging_db.jobs.source import FramesByIndex, JobSource
from imaging_db.jobs.work_order import WorkOrder
from imaging_db.model.job import Lease, UnitResult
from imaging_db.readers.base import Reader
from imaging_db.stores.base import Store
from imaging_db.stores.registry import open_store
from imaging_db.transfer.pool import Stop, StopFlag
from imaging_db.transfer.stored_frames import FrameWriter, Stored, Threads

_PUTTERS = 8
"""Threads of one unit that put into a remote store; several units are at work at a time."""
_MOST_OPEN = 2
_TEMPORARY = StoreUnavailable.exit_code
_PUT_BEFORE = "the source changed after it was put: cancel the job, and create it again"
_log = logging.getLogger(__name__)


def do_units(
    order: WorkOrder, leases: Sequence[Lease], stop: StopFlag | None = None
) -> list[UnitResult]:
    """Return what became of each unit; what is wrong with one never touches another.

    A unit that was begun when ``stop`` is set, or waits, comes back as temporary: it is not to blame.
    """
    stop = stop or StopFlag()
    try:
        work = _open_works.of(order)
    except Exception as error:  # noqa: BLE001 - a source that is not at hand here is no fault of a unit
        return [replace(_failed(lease, error), temporary=True) for lease in leases]
    results = [_do_unit(work, lease, stop) for lease in leases]
    if order.flush and any(result.is_done for result in results):
        try:
            work.store.flush()  # of this very store, which knows what it put
        except ImagingDBError as error:
            return [
                _failed(result.lease, error) if result.is_done else result for result in results
            ]
    return results


def _do_unit(work: _OpenWork, lease: Lease, stop: StopFlag) -> UnitResult:
    try:
        stop.check()
        frames = work.frames.between(lease.unit.first, lease.unit.stop)
        found: list[Stored] = []
        with closing(work.writer.written(frames, work.threads)) as written:
            for one in written:
                found.append(one)
                stop.check()
    except Stop:
        return _left(lease)
    except Exception as error:  # noqa: BLE001 - whatever one unit meets must not stop the others
        return _failed(lease, error)
    if len(found) != lease.unit.count:
        cause = f"has {len(found)} frames instead of {lease.unit.count}"
        return UnitResult(lease, kind="CorruptSource", message=cause)
    rows = tuple(sorted((row for row, _ in found), key=lambda row: row.coords))
    return UnitResult(lease, rows, raw_bytes=sum(size for _, size in found))


def _left(lease: Lease) -> UnitResult:
    return UnitResult(lease, kind="Stopped", message="its runner left", temporary=True)


def _failed(lease: Lease, error: Exception) -> UnitResult:
    """Return a failure as the catalog keeps it; a store that does not answer is no fault of the unit."""
    if not isinstance(error, ImagingDBError):
        _log.debug("unit %d", lease.unit.ordinal, exc_info=error)
    if isinstance(error, ObjectConflict):
        error.hint = _PUT_BEFORE
    temporary = isinstance(error, ImagingDBError) and error.exit_code == _TEMPORARY
    return UnitResult(lease, kind=type(error).__name__, message=str(error), temporary=temporary)


@dataclass(frozen=True)
class _OpenWork:
    """A work order whose source and store are open."""

    reader: Reader
    frames: FramesByIndex
    store: Store
    writer: FrameWriter
    threads: Threads

    def close(self) -> None:
        self.reader.close()
        self.store.close()


class _OpenWorks:
    """The work orders that this process is at: opening a source costs more than a unit of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenWork] = OrderedDict()
        self._pinned: set[str] = set()

    def of(self, order: WorkOrder, *, pinned: bool = False) -> _OpenWork:
        """Return an order's open source and store; other threads wait while they are opened.

        One that is ``pinned`` stays until it is closed: its store knows what is to be made durable.
        """
        with self._lock:
            found = self._open.get(order.uuid)
            if found is None:
                found = self._open[order.uuid] = _opened(order)
            if pinned:
                self._pinned.add(order.uuid)
            self._open.move_to_end(order.uuid)
            idle = [uuid for uuid in self._open if uuid not in self._pinned]
            for uuid in idle[:-_MOST_OPEN]:
                del self._open[uuid]  # perhaps at work in another thread: left to the collector
            return found

    def close(self, uuid: str) -> None:
        """Close what is open of an order; nobody may be working on it."""
        with self._lock:
            self._pinned.discard(uuid)
            found = self._open.pop(uuid, None)
        if found is not None:
            found.close()


_open_works = _OpenWorks()


def open_work(order: WorkOrder) -> None:
    """Open source and store of an order until `close_work`; raises what is wrong with them."""
    _open_works.of(order, pinned=True)


def flush_work(order: WorkOrder) -> None:
    """Return once everything that this process put for an order survives a power cut."""
    _open_works.of(order).store.flush()


def close_work(order: WorkOrder) -> None:
    """Close source and store of an order in this process, once none of its units is at work."""
    _open_works.close(order.uuid)


def _opened(order: WorkOrder) -> _OpenWork:
    reader = JobSource.from_json(order.source).open()
    try:
        store = open_store(order.store)
    except BaseException:
        reader.close()
        raise
    writer = FrameWriter.of(reader, store, directory=order.directory, codec=order.codec)
    threads = Threads(1, 0 if order.store.storage in ("local", "memory") else _PUTTERS)
    return _OpenWork(reader, FramesByIndex(reader), store, writer, threads)
