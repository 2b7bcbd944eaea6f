"""What people say of datasets, for Python: tags and notes, with who and when.

with ImagingDB.connect() as db:
    db.annotations.set("ISP-2018-06-08-15-45-00-0001", "good")
    db.annotations.set("ISP-2018-06-08-15-45-00-0001", "stain", "Hoechst")
    db.dataset("ISP-2018-06-08-15-45-00-0001").notes
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.errors import ConfigError, UsageError
from imaging_db.model import Annotation, AnnotationChange, AnnotationEdit
from imaging_db.model.annotation import author_problem

if TYPE_CHECKING:
    from imaging_db.api.opened import Opened
    from imaging_db.config.annotation_csv import AnnotationLine

_VARIABLE = "IMAGING_DB_USER"


class Annotations:
    """The tags and notes of an open database; only of datasets that can be seen.

    A tag is a key alone, a note has a value. Every method that changes something names its ``author``:
    without one ``IMAGING_DB_USER``, else who is logged in to this computer.
    """

    def __init__(self, db: Opened) -> None:
        self._db = db

    def set(
        self, serial: str, key: str, value: str | None = None, *, author: str | None = None
    ) -> Annotation:
        """Return the tag or note that a dataset has from now on; what is so already stays whose it is.

        Raises
        ------
        DatasetNotFound
            No dataset of that serial can be seen; ``nearest`` holds similar ones.
        UsageError
            A key, value or author that cannot be kept.
        """
        (change,) = self.edit([AnnotationEdit(serial, key, value)], author=author)
        if change.after is None:  # only an edit that removes leaves nothing
            raise UsageError(f"{serial}: {key!r} was not set")
        return change.after

    def remove(self, serial: str, key: str, *, author: str | None = None) -> Annotation | None:
        """Return the tag or note that was taken back, None where there was none; raises as `set`."""
        (change,) = self.edit([AnnotationEdit(serial, key, removes=True)], author=author)
        return change.before

    def edit(
        self, edits: Sequence[AnnotationEdit], *, author: str | None = None, dry_run: bool = False
    ) -> list[AnnotationChange]:
        """Return what each edit came to, or would in a dry run; all of them are made, or none.

        Raises
        ------
        DatasetNotFound, UsageError
            As `set`; or two edits are of the same key of one dataset.
        """
        return self._db.catalog.annotations.edit(edits, author=_named(author), dry_run=dry_run)

    def of(self, serial: str) -> list[Annotation]:
        """Return the tags and notes of a dataset, by key. Raises `DatasetNotFound`."""
        return self._db.catalog.annotations.of(serial)

    def history(self, serial: str) -> list[Annotation]:
        """Return what a dataset's tags and notes are and were, by key. Raises `DatasetNotFound`."""
        return self._db.catalog.annotations.of(serial, history=True)

    def all(self, *, history: bool = False) -> list[Annotation]:
        """Return the tags and notes of every dataset, by serial and key; also what was ``history``."""
        return self._db.catalog.annotations.all(history=history)

    def export_csv(
        self, path: Path | str, serials: Iterable[str] | None = None, *, history: bool = False
    ) -> int:
        """Return how many rows were written to a CSV that `import_csv` reads back.

        Of some datasets, or of all; ``history`` adds what was removed, which is not read back.

        Raises
        ------
        DatasetNotFound
            One of ``serials`` cannot be seen; nothing was written.
        UsageError, StoreUnavailable
            The file cannot be written.
        """
        from imaging_db.config.annotation_csv import annotations_csv
        from imaging_db.transfer.whole_file import write_whole

        known = self._db.catalog.annotations
        if serials is None:
            found = known.all(history=history)
        else:
            found = [one for s in dict.fromkeys(serials) for one in known.of(s, history=history)]
        write_whole(Path(path), annotations_csv(found, history=history))
        return len(found)

    def import_csv(
        self, path: Path | str, *, author: str | None = None, dry_run: bool = False
    ) -> list[AnnotationChange]:
        """Return what each row of a CSV came to, or would in a dry run; all are taken over, or none.

        What a dataset has and the CSV does not name stays. Rows that say what is so already change nothing.
        Of the others ``author`` is the one who changes; the row's own author and time count where the
        catalog never had that key of that dataset, as when notes move from another catalog.

        Raises
        ------
        ConfigError
            All that is wrong in the CSV, a line each; nothing was changed.
        """
        from imaging_db.config.annotation_csv import read_annotations_csv

        path, catalog = Path(path), self._db.catalog
        lines = read_annotations_csv(path, now=catalog.now())
        self._require_seen(path, lines)
        return self.edit([line.edit for line in lines], author=author, dry_run=dry_run)

    def _require_seen(self, path: Path, lines: Sequence[AnnotationLine]) -> None:
        unseen = self._db.catalog.annotations.unseen(line.edit.serial for line in lines)
        if unseen:
            raise ConfigError(
                [
                    f"{path}:{line.number}: serial: {unseen[line.edit.serial]}"
                    for line in lines
                    if line.edit.serial in unseen
                ]
            )


def _named(author: str | None) -> str:
    """Return who changes something.

    Raises
    ------
    UsageError
        No such name can be kept.
    ConfigError
        Nobody is logged in, as in some containers.
    """
    if author is None:
        author = os.environ.get(_VARIABLE) or _logged_in()
    problem = author_problem(author)
    if problem is not None:
        raise UsageError(problem)
    return author


def _logged_in() -> str:
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError) as error:  # which of them depends on system and version
        raise ConfigError(
            "nobody is logged in to this computer by name", hint=f"set {_VARIABLE} to your name"
        ) from error
