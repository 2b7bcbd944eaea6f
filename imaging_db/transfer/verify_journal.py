"""The journal of a verification: what was verified already, so that the next run goes on behind it.

JSON lines, each written at once: the first names the catalog and the sample; every other tells how far
one dataset is, that an object failed, or that one which had failed is well again. A line that a kill cut
short is dropped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from imaging_db.errors import StoreUnavailable, UsageError
from imaging_db.model import Dataset
from imaging_db.transfer.sample import Sample

_KIND = "imaging_db verify 1"
_ANOTHER = "name another file"
_MOST_LINE = 2**20


@dataclass(slots=True)
class Mark:
    """How far a dataset is: its first ``done`` objects were verified, the last of them is named ``last``.

    ``failed`` are the names of objects that were not as recorded.
    """

    done: int = 0
    last: str = ""
    unrecorded: int = 0
    nbr_bytes: int = 0
    finished: bool = False
    failed: set[str] = field(default_factory=set)

    @property
    def well(self) -> bool:
        """Return True where nothing is left to be verified."""
        return self.finished and not self.failed


class VerifyJournal:
    """An open journal; a context manager. ``sample`` is the one in force, which an older run may have chosen.

    ``lost`` is True once it could not be written.
    """

    def __init__(self, path: Path, stream: IO[bytes], sample: Sample | None) -> None:
        self.path = path
        self.sample = sample
        self.lost = False
        self._stream = stream
        self._marks: dict[tuple[str, str | None, str], Mark] = {}

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        catalog: str,
        sample: str | None = None,
        seed: int | None = None,
    ) -> VerifyJournal:
        """Return the journal in ``path``, a new one where there is none. ``catalog`` is its address.

        Raises
        ------
        UsageError
            It cannot be read or written, is no journal, or one of another catalog or sample.
        """
        path = Path(path)
        stream = _opened(path)
        try:
            lines = _whole_lines(stream, path)
            head = next(lines, None)
            if head is None:
                wanted = None if sample is None else Sample.parse(sample, seed=seed)
                journal = cls(path, stream, wanted)
                journal._begin(catalog)
                return journal
            journal = cls(path, stream, _sample_of(head, path, catalog, sample, seed))
            for line in lines:
                if line != head:  # which two runs may have written that began at once
                    journal._take(line)
        except UsageError:
            stream.close()
            raise
        except (KeyError, TypeError, ValueError) as error:
            stream.close()
            raise UsageError(f"{path} is not a whole journal of verify", hint=_ANOTHER) from error
        except BaseException:
            stream.close()
            raise
        return journal

    def mark(self, dataset: Dataset, store: str) -> Mark:
        """Return how far a dataset is in the store of that address; one that was replaced begins anew."""
        return self._marks.setdefault(_key_of(dataset, store), Mark())

    def reached(self, dataset: Dataset, store: str) -> None:
        """Write down how far the mark of a dataset is now."""
        mark = self.mark(dataset, store)
        self._write(
            dataset,
            store,
            done=mark.done,
            last=mark.last,
            unrecorded=mark.unrecorded,
            bytes=mark.nbr_bytes,
            finished=mark.finished,
        )

    def found(self, dataset: Dataset, store: str, name: str, *, well: bool) -> None:
        """Write down that an object is not as recorded, or that it is so again."""
        failed = self.mark(dataset, store).failed
        if well == (name in failed):
            self._write(dataset, store, **{"mended" if well else "failed": name})
            (failed.discard if well else failed.add)(name)

    def _begin(self, catalog: str) -> None:
        sample = self.sample
        head = {"journal": _KIND, "catalog": catalog}
        if sample is not None:
            head |= {"sample": sample.text, "seed": str(sample.seed)}
        self._append(head)

    def _take(self, line: dict[str, Any]) -> None:
        key = (str(line["dataset"]), line["of"], str(line["store"]))
        mark = self._marks.setdefault(key, Mark())
        if "failed" in line:
            mark.failed.add(line["failed"])
        elif "mended" in line:
            mark.failed.discard(line["mended"])
        else:
            mark.done, mark.last = int(line["done"]), str(line["last"])
            mark.unrecorded, mark.nbr_bytes = int(line["unrecorded"]), int(line["bytes"])
            mark.finished = bool(line["finished"])

    def _write(self, dataset: Dataset, store: str, **values: Any) -> None:
        serial, of, address = _key_of(dataset, store)
        self._append({"dataset": serial, "of": of, "store": address, **values})

    def _append(self, line: dict[str, Any]) -> None:
        rest = memoryview(json.dumps(line).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._stream.fileno(), rest) :]
        except OSError as error:
            self.lost = True
            raise StoreUnavailable(
                f"{self.path} cannot be written: {error.strerror or error}",
                hint="free space and rerun",
                transient=False,
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> VerifyJournal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _key_of(dataset: Dataset, store: str) -> tuple[str, str | None, str]:
    of = dataset.published_at
    return dataset.serial, None if of is None else of.isoformat(), store


def _opened(path: Path) -> IO[bytes]:
    """Return the file, to be read from its beginning; whatever is written goes to its end."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file", hint=_ANOTHER)
    try:
        stream = path.open("a+b")
    except OSError as error:
        raise UsageError(f"{path} cannot be opened: {error.strerror or error}") from error
    stream.seek(0)
    return stream


def _whole_lines(stream: IO[bytes], path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines; cut off a last one that is not whole, so that the next begins where it should."""
    end = 0
    for number, line in enumerate(iter(partial(stream.readline, _MOST_LINE), b""), 1):
        if not line.endswith(b"\n") and len(line) < _MOST_LINE:
            break
        end += len(line)
        try:
            found = json.loads(line)
            if not isinstance(found, dict) or not {"journal", "dataset"} & found.keys():
                raise ValueError(line)
            yield found
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path}:{number}: is not a line of a journal of verify", hint=_ANOTHER
            ) from error
    stream.seek(end)
    if end < os.fstat(stream.fileno()).st_size:
        if not end:
            _check_torn_head(stream, path)
        stream.truncate(end)


def _check_torn_head(stream: IO[bytes], path: Path) -> None:
    """A file without one whole line may be someone's notes: only what began as a journal is cut."""
    begun = stream.read(64)
    stream.seek(0)
    start = b'{"journal"'
    if not (begun.startswith(start) or start.startswith(begun)):
        raise UsageError(f"{path}:1: is not a line of a journal of verify", hint=_ANOTHER)


def _sample_of(
    head: dict[str, Any], path: Path, catalog: str, sample: str | None, seed: int | None
) -> Sample | None:
    """Return the sample of a journal, after it was found to be the one that is asked for."""
    if head.get("journal") != _KIND:
        raise UsageError(f"{path} is not a journal of verify", hint=_ANOTHER)
    if head.get("catalog") != catalog:
        raise UsageError(
            f"{path} is the journal of another catalog, {head.get('catalog')}", hint=_ANOTHER
        )
    kept = head.get("sample")
    of_seed = seed is None or str(seed) == head.get("seed")
    if sample != kept or not of_seed:
        what = f"a sample of {kept}, seed {head.get('seed')}" if kept else "everything"
        raise UsageError(f"{path} is the journal of {what}", hint=f"repeat that, or {_ANOTHER}")
    return None if kept is None else Sample.parse(kept, seed=int(head["seed"]))
