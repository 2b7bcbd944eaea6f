"""ImagingDB: one catalog, its stores and the readers, for Python.

with ImagingDB.connect() as db:
    for dataset in db.datasets(microscope="Leica"):
        print(dataset.serial)
    stack, dims = db.dataset("ISP-2018-06-08-15-45-00-0001").frames(channels="GFP").stack()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db.api.dataset_view import DatasetView
from imaging_db.api.keeping import Keeping
from imaging_db.config import (
    Manifest,
    Problems,
    StoreSettings,
    read_manifest,
)
from imaging_db.errors import ConfigError, DatasetNotFound, SchemaOutOfDate
from imaging_db.model import Dataset, DatasetQuery, Expression, FrameSelection, parse_expression
from imaging_db.model.selection import Chosen

if TYPE_CHECKING:
    import xarray

    from imaging_db.api.annotations import Annotations
    from imaging_db.api.frame_search import FrameSearch
    from imaging_db.transfer import DownloadReport, Planner, Progress, UploadReport, VerifyReport
    from imaging_db.transfer.backfill import BackfillReport
    from imaging_db.transfer.batch import Planned
    from imaging_db.transfer.check import CheckReport, StoreReport
    from imaging_db.transfer.repair import RepairReport
    from imaging_db.transfer.sample import Sample
    from imaging_db.transfer.verify_journal import VerifyJournal


def _nobody(report: object) -> None:
    """Hear a report and say nothing."""


class ImagingDB(Keeping):
    """An open catalog with the stores of its datasets; a context manager, safe for threads."""

    def init(self) -> None:
        """Make the catalog and the store ready for the first upload; repeating it changes nothing."""
        from imaging_db.transfer.at_hand import make_default_folder

        if self.settings.store.storage == "local":
            make_default_folder(Path(self.settings.store.access))
        self.store.probe()
        self._opened(create=True)

    def datasets(self, query: DatasetQuery | None = None, **criteria: Any) -> Iterator[Dataset]:
        """Yield the datasets that match, ordered by serial; criteria are fields of `DatasetQuery`.

        ``where`` may be text, as ``db.frames`` takes it. Raises `UsageError` where it cannot be read.
        """
        if isinstance(criteria.get("where"), str):
            criteria["where"] = parse_expression(criteria["where"])
        default = self.settings.origins.get("database") == "embedded default"
        if default and self._catalog is None and self._has_no_file():
            return iter(())  # nothing was uploaded yet
        return self.catalog.datasets(replace(query or DatasetQuery(), **criteria))

    def dataset(self, serial: str) -> DatasetView:
        """Return one dataset; `DatasetNotFound` names similar ones."""
        return DatasetView(self, self.catalog.dataset(serial))

    @property
    def annotations(self) -> Annotations:
        """Return what people say of the datasets: tags and notes, to read and to edit."""
        from imaging_db.api.annotations import Annotations

        return Annotations(self)

    def open(
        self,
        serial: str,
        channels: Chosen = None,
        *,
        slices: Chosen = None,
        timepoints: Chosen = None,
        positions: Chosen = None,
        where: str | Expression | None = None,
        fill: float | None = None,
        cache: bool = True,
    ) -> xarray.DataArray:
        """Return frames of a dataset as a lazy array with coordinates: T P C Z Y X, and S for colour.

        Only frames that are needed are read, verified, once they are computed. Where frames of the block are
        absent, ``fill`` says what stands for them; ``cache=False`` keeps no decoded frames in memory.
        More in `imaging_db.api.arrays.data_array`.

        Raises
        ------
        DatasetNotFound, NothingSelected
            None can be seen; no frame of it matches.
        UsageError
            Frames differ in size or type, or some are absent and no ``fill`` was named.
        """
        frames = self.dataset(serial).frames(
            channels, slices=slices, timepoints=timepoints, positions=positions, where=where
        )
        return frames.to_xarray(fill=fill, cache=cache)

    def frames(self, where: str | Expression) -> FrameSearch:
        """Return the frames of all datasets that fit a query, lazily; docs/queries.md tells the language.

        Raises
        ------
        UsageError
            The query cannot be read; tells the character.
        """
        from imaging_db.api.frame_search import FrameSearch

        return FrameSearch(self, parse_expression(where) if isinstance(where, str) else where)

    def find(self, serial: str) -> Dataset | None:
        """Return a dataset, None where there is none, or not even a catalog yet."""
        if self._catalog is None and self._has_no_file():
            return None
        try:
            return self.catalog.dataset(serial)
        except DatasetNotFound:
            return None
        except SchemaOutOfDate:
            if self._is_empty():
                return None
            raise

    def plan(self, csv: Path | str) -> list[Planned]:
        """Return for each row of a CSV its plan, or the report of its refusal; nothing is written.

        Raises
        ------
        ConfigError
            All that is wrong in the CSV and in what the config names.
        """
        from imaging_db.transfer import check_parents, plan_rows

        manifest, planner = self._checked(csv)
        check_parents(manifest, self.find)
        return list(plan_rows(manifest, planner))

    def upload(
        self,
        csv: Path | str,
        *,
        workers: int | None = None,
        overwrite: bool = False,
        progress: Progress | None = None,
        told: Callable[[UploadReport], None] = _nobody,
    ) -> list[UploadReport]:
        """Return a report for every row of a CSV; ``told`` hears each as soon as it is known.

        Everything is checked before the first byte moves. Rows that fail do not stop the others.

        Raises
        ------
        ConfigError
            Something is wrong in the CSV or the config; nothing was started.
        CatalogUnavailable, StoreUnavailable, StoreDenied
            Before anything was started.
        """
        from imaging_db.transfer import Silent, Uploader, check_parents, plan_rows, upload_rows
        from imaging_db.transfer.emptied import check_mounted

        manifest, planner = self._checked(csv)
        self.init()
        check_mounted(self.catalog, self.settings.store)
        check_parents(manifest, self.find)
        uploader = Uploader(
            self.catalog,
            self.store,
            self.store_of,
            workers=workers,
            overwrite=overwrite,
            progress=progress or Silent(),
        )
        return upload_rows(list(plan_rows(manifest, planner)), uploader, told=told)

    def _checked(self, csv: Path | str) -> tuple[Manifest, Planner]:
        """Return the CSV and the planner, or raise all that is wrong in either at once."""
        from imaging_db.transfer import Planner

        problems = Problems()
        manifest = problems.collect(lambda: read_manifest(csv))
        planner = problems.collect(lambda: Planner(self.settings))
        problems.stop()
        if manifest is None or planner is None:  # each failure above left a problem
            raise ConfigError(f"{csv} could not be read")
        return manifest, planner

    def download(
        self,
        serial: str,
        dest: Path | str,
        *,
        selection: FrameSelection | None = None,
        metadata: bool = True,
        objects: bool = True,
        convert: str | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> DownloadReport:
        """Return what was written to ``dest/<serial>``; see `Downloader.download`.

        ``convert="png"`` writes frames that are stored otherwise as PNG, where PNG holds them.
        """
        from imaging_db.transfer import Downloader, Silent

        dataset = self.catalog.dataset(serial)
        store = self.store_of(dataset)
        store.probe(write=False)
        downloader = Downloader(self.catalog, store, workers, progress or Silent(), convert)
        return downloader.download(
            dataset, Path(dest), selection=selection, metadata=metadata, objects=objects
        )

    def verify(
        self,
        serial: str,
        *,
        sample: Sample | None = None,
        journal: VerifyJournal | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Return what came of reading a dataset, or a sample of it, back and comparing every hash.

        ``journal`` remembers what was verified, so that another run passes it over.
        """
        from imaging_db.transfer import Silent, Verifier

        dataset = self.catalog.dataset(serial)
        verifier = Verifier(self.catalog, self._at_hand(dataset), workers, progress or Silent())
        return verifier.verify(dataset, sample=sample, journal=journal)

    def check(
        self,
        serial: str,
        *,
        read_data: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> CheckReport:
        """Return how a dataset and the store differ, by names and sizes; nothing is changed.

        ``read_data`` compares every hash, too.
        """
        from imaging_db.transfer import Silent
        from imaging_db.transfer.check import Checker

        dataset = self.catalog.dataset(serial)
        checker = Checker(self.catalog, self._at_hand(dataset), workers, progress or Silent())
        return checker.check(dataset, read_data=read_data)

    def backfill(
        self,
        serial: str,
        *,
        selection: FrameSelection | None = None,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> BackfillReport:
        """Return what was measured of frames that have no figures yet; see `Backfiller.backfill`."""
        from imaging_db.transfer import Silent
        from imaging_db.transfer.backfill import Backfiller

        dataset = self.catalog.dataset(serial)
        store = self._at_hand(dataset)
        backfiller = Backfiller(self.catalog, store, workers, progress or Silent())
        return backfiller.backfill(dataset, selection=selection)

    def check_store(self) -> StoreReport:
        """Return what the configured store holds that no dataset knows, and which are unfinished."""
        from imaging_db.transfer.check import check_store

        return check_store(self.catalog, self.store, self.settings.store)

    def repair(
        self,
        serial: str,
        *,
        source: Path | str | None = None,
        second: StoreSettings | None = None,
        dry_run: bool = False,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> RepairReport:
        """Return what of a dataset was missing or damaged and was put back.

        From the ``second`` store, which has the same keys, or the ``source`` of its upload, which is read
        as the config says. Only what has the recorded hash is taken. A store that was named when opening
        and is not the recorded one is a copy: it gets the recorded bytes or none, and no row is changed.

        Raises
        ------
        StoreDenied
            The store that the dataset was uploaded to is not here, and no other was named when opening.
        UsageError
            The second store is the dataset's own, or there is no such source.
        ReaderError
            The source is refused.
        """
        from imaging_db.transfer import Silent
        from imaging_db.transfer.at_hand import require_recorded
        from imaging_db.transfer.orphans import is_here
        from imaging_db.transfer.repair import Repairer
        from imaging_db.transfer.replacements import spares_of

        dataset = self.catalog.dataset(serial)
        store, place = self._at_hand(dataset), self._place_of(dataset)
        if not self._store_named:
            require_recorded(store, place, dataset)
        second_store = None if second is None else self._store(second)
        spares = spares_of(self.settings, dataset, store, second_store, source, workers=workers)
        store.probe(write=not dry_run)
        repairer = Repairer(
            self.catalog, store, spares, workers, progress or Silent(), is_here(dataset, place)
        )
        return repairer.repair(dataset, dry_run=dry_run)
