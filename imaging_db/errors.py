"""Every error that imaging_db raises on purpose, in one tree.

::

    ImagingDBError                      1
      UsageError                        2   options that contradict, a selection that cannot be read
      ConfigError                       2   everything that is wrong in config, login or CSV, at once (.problems)
        UnknownPlugin                   2   no reader, store or parser of that name (.available)
        SchemaOutOfDate                 2   the catalog needs `imaging-db db upgrade`, or is newer than this program
        StoreDenied                     2   the store exists and refuses us: credentials, permissions, bucket name
      DatasetNotFound                   2   no dataset with that id can be seen (.nearest)
      JobNotFound                       2   no ingest job of that number, uuid or dataset (.nearest)
      NothingSelected                   2   the dataset exists, the selection matches no frame of it
      InvalidDatasetId                  2   not <ID>-YYYY-MM-DD-HH-MM-SS-<SSSS>
      ReaderError                       4   the source was refused (.source, .page)
        UnsupportedFormat               4   no reader takes it, or it holds what no codec keeps exactly
        AmbiguousFormat                 4   two readers take it (.candidates)
        CorruptSource                   4   truncated, damaged, or it promises what it does not hold
        MissingMetadata                 4   a required field is absent (.field)
        SourceChanged                   4   the source was written to while it was being read
      StoreUnavailable                  5   unreachable after retries, full, or a time-out
      CatalogUnavailable                5   the database does not answer
      IntegrityError                    6   bytes differ from what was recorded
        ObjectNotFound                  6   the catalog promises an object that the store does not hold (.key)
        ChecksumMismatch                6   (.key, .expected, .found)
        ObjectsDamaged                  6   several of the two above (.failures)
        UnsafePath                      6   a name from the catalog or a store would leave its root
      Conflict                          7   exists already, with other content
        DatasetExists                   7
        ObjectConflict                  7   (.key)
        ObjectsInTheWay                 7
        JobOver                         7   an ingest job takes no more work: complete, cancelled (.state)
      DatasetBusy                       8   another live run has claimed it (.owner)
      FolderBusy                        8   another live run writes to the same folder
      UnexpectedError                   1   a bug, met in one row; the other rows go on
      Interrupted                     130   stopped by the user or the system; 143 for SIGTERM

The number is the exit code of the command lines. A message is one line: what, which one, why; the
``hint`` says what to do next and is printed after a semicolon. Nothing here may hold a secret.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imaging_db.model import Dataset


_MEND = "imaging-db repair can put it back, from its source or a second store"


class ImagingDBError(Exception):
    """Root of all errors that imaging_db raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it come back from another process as it is, whatever its class asks for when it is made."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(kind: type[ImagingDBError], said: tuple[Any, ...]) -> ImagingDBError:
    return kind.__new__(kind, *said)


class UsageError(ImagingDBError, ValueError):
    """Options that contradict each other, or a value that cannot be read."""

    exit_code = 2


class ConfigError(ImagingDBError, ValueError):
    """What is wrong in the files that say what to do; all of it at once in ``problems``."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str], *, hint: str = "") -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems), hint=hint)


class UnknownPlugin(ConfigError, LookupError):
    """No reader, store or filename parser has that name; ``available`` holds those that exist."""

    def __init__(self, kind: str, name: str, available: Sequence[str]) -> None:
        self.available = tuple(available)
        super().__init__(f"unknown {kind} '{name}'", hint=f"known: {', '.join(self.available)}")


class SchemaOutOfDate(ConfigError):
    """The catalog's schema is older or newer than this program, or not ours."""


class StoreDenied(ConfigError):
    """The store answers and refuses: credentials, permissions, or a bucket that does not exist."""


class DatasetNotFound(ImagingDBError, LookupError):
    """No dataset with that id can be seen; ``nearest`` holds similar ids."""

    exit_code = 2

    def __init__(self, message: str, *, nearest: Sequence[str] = (), hint: str = "") -> None:
        self.nearest = tuple(nearest)
        super().__init__(message, hint=hint)


class JobNotFound(ImagingDBError, LookupError):
    """There is no ingest job of that number, uuid or dataset; ``nearest`` holds similar ids of datasets."""

    exit_code = 2

    def __init__(self, message: str, *, nearest: Sequence[str] = (), hint: str = "") -> None:
        self.nearest = tuple(nearest)
        super().__init__(message, hint=hint)


class NothingSelected(ImagingDBError, LookupError):
    """The dataset exists, but no frame or file of it matches the selection."""

    exit_code = 2


class InvalidDatasetId(ImagingDBError, ValueError):
    """Not of the form ``<ID>-YYYY-MM-DD-HH-MM-SS-<SSSS>``."""

    exit_code = 2


class ReaderError(ImagingDBError):
    """A source was refused; ``source`` names the file, ``page`` the page where it is known."""

    exit_code = 4

    def __init__(
        self, source: Path | str, cause: str, *, page: int | None = None, hint: str = ""
    ) -> None:
        self.source = Path(source)
        self.page = page
        self.cause = cause
        where = f"{source}" if page is None else f"{source}: page {page}"
        super().__init__(f"{where}: {cause}", hint=hint)


class UnsupportedFormat(ReaderError):
    """No reader takes this source, or it holds what no codec keeps exactly."""


class AmbiguousFormat(ReaderError):
    """Several readers take this source; ``candidates`` names them."""

    def __init__(self, source: Path | str, candidates: Sequence[str]) -> None:
        self.candidates = tuple(candidates)
        names = ", ".join(self.candidates)
        super().__init__(
            source, f"could be {names}", hint="name one as 'frames_format' in the config"
        )


class CorruptSource(ReaderError):
    """Truncated or damaged, or it promises frames that it does not hold."""


class MissingMetadata(ReaderError):
    """A field that is required is absent or of the wrong type; ``field`` names it."""

    def __init__(
        self, source: Path | str, field: str, cause: str, *, page: int | None = None
    ) -> None:
        self.field = field
        super().__init__(source, f"{field}: {cause}", page=page)


class SourceChanged(ReaderError):
    """The source was written to, replaced or removed while it was being read."""


class StoreUnavailable(ImagingDBError):
    """The store is full, cannot be reached, or did not answer in time; worth trying again later.

    ``transient`` is False where trying again at once cannot help: full, or a stream that ended early.
    """

    exit_code = 5

    def __init__(self, message: str, *, hint: str = "", transient: bool = True) -> None:
        self.transient = transient
        super().__init__(message, hint=hint)


class CatalogUnavailable(ImagingDBError):
    """The database cannot be reached, or did not answer in time; worth trying again later."""

    exit_code = 5


class IntegrityError(ImagingDBError):
    """Bytes differ from what was recorded about them."""

    exit_code = 6


class ObjectNotFound(IntegrityError, LookupError):
    """The store holds nothing under ``key``."""

    def __init__(self, key: str, where: str) -> None:
        self.key = key
        super().__init__(f"{key} is missing from {where}", hint=_MEND)


class ChecksumMismatch(IntegrityError):
    """The object under ``key`` has other bytes than recorded."""

    def __init__(self, key: str, *, expected: str, found: str) -> None:
        self.key, self.expected, self.found = key, expected, found
        super().__init__(
            f"{key} is damaged: sha256 {found[:12]}... instead of {expected[:12]}...", hint=_MEND
        )


class ObjectsDamaged(IntegrityError):
    """Several objects are missing or damaged; ``failures`` holds one error for each."""

    def __init__(self, message: str, failures: Sequence[ImagingDBError]) -> None:
        self.failures = tuple(failures)
        super().__init__(message)


class UnsafePath(IntegrityError):
    """A name that came from a catalog or a store would lead outside its root."""


class Conflict(ImagingDBError):
    """Something with that name exists already and has other content."""

    exit_code = 7


class DatasetExists(Conflict):
    """A dataset of that id exists already; ``existing`` is it, as the catalog keeps it."""

    def __init__(self, serial: str, existing: Dataset) -> None:
        self.existing = existing
        super().__init__(
            f"{serial} exists already, with other content",
            hint="give it another id, or replace it with --overwrite",
        )


class ObjectConflict(Conflict):
    """The store holds other bytes under ``key`` already."""

    def __init__(self, key: str, where: str) -> None:
        self.key = key
        super().__init__(
            f"{key} exists in {where} with other content",
            hint="if an unfinished upload left it, replace it with --overwrite; or choose another id",
        )


class ObjectsInTheWay(Conflict):
    """The store holds objects below a new dataset's prefix that are none of its own."""

    def __init__(self, prefix: str, count: int, where: str) -> None:
        super().__init__(
            f"{prefix} in {where} holds {count} {'object' if count == 1 else 'objects'} of another upload",
            hint="if an unfinished upload left them, replace them with --overwrite; or choose another id",
        )


class JobOver(Conflict):
    """An ingest job takes no more work of this kind; ``state`` says what became of it."""

    def __init__(self, message: str, *, state: str, hint: str = "") -> None:
        self.state = state
        super().__init__(message, hint=hint)


class DatasetBusy(ImagingDBError):
    """Another live run has claimed the dataset; ``owner`` says which."""

    exit_code = 8

    def __init__(self, serial: str, owner: str, seconds_ago: float) -> None:
        self.owner = owner
        self.seconds_ago = seconds_ago
        super().__init__(
            f"{serial} is being uploaded by {owner}, last heard of {seconds_ago:.0f} s ago",
            hint="wait for it, or rerun later",
        )


class FolderBusy(ImagingDBError):
    """Another run is writing to the same folder."""

    exit_code = 8

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another run is writing to {folder}", hint="wait for it, or rerun later")


class UnexpectedError(ImagingDBError):
    """A bug, met in one row: the other rows go on."""

    exit_code = 1


class Interrupted(ImagingDBError):
    """Stopped by the user (130) or the system (143); nothing partial can be seen."""

    exit_code = 130

    def __init__(self, message: str, *, signal_number: int = 2) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(message)


_USED_UP = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


def used_up(error: BaseException) -> StoreUnavailable | None:
    """Return the error of a system that has no more files or memory to give; None for any other."""
    if not isinstance(error, OSError) or error.errno not in _USED_UP:
        return None
    found = StoreUnavailable(
        f"the system has no more to give: {error.strerror}",
        hint="close other programs, or raise the limit (ulimit -n), and rerun",
    )
    found.__cause__ = error
    return found
