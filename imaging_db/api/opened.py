"""An open catalog and its stores: what every side of `ImagingDB` stands on."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from imaging_db.config import Settings, StoreSettings, load_settings
from imaging_db.model import Dataset

if TYPE_CHECKING:
    from imaging_db.catalog import Catalog
    from imaging_db.stores.base import Store


class Opened:
    """An open catalog with the stores of its datasets; a context manager, safe for threads."""

    def __init__(self, settings: Settings) -> None:
        """Take settings; nothing is opened before it is needed."""
        self.settings = settings
        self._catalog: Catalog | None = None
        self._stores: dict[StoreSettings, Store] = {}
        self._store_named = False
        self._opening = threading.RLock()

    @classmethod
    def connect(
        cls,
        login: Path | str | None = None,
        config: Path | str | None = None,
        *,
        storage: str | None = None,
        storage_access: str | None = None,
        codec: str | None = None,
        max_frame_bytes: int | None = None,
        max_frames: int | None = None,
    ) -> Self:
        """Return the database that login and config describe; both are looked for where none is named.

        ``storage`` and ``storage_access`` override where the bytes are, ``codec`` how uploads keep frames,
        ``max_frame_bytes`` and ``max_frames`` what readers refuse.

        Raises
        ------
        ConfigError
            All that is wrong in the two files.
        """
        settings = load_settings(
            login,
            config,
            storage=storage,
            storage_access=storage_access,
            codec=codec,
            max_frame_bytes=max_frame_bytes,
            max_frames=max_frames,
        )
        return cls.of(settings, store_named=storage is not None or storage_access is not None)

    @classmethod
    def of(cls, settings: Settings, *, store_named: bool) -> Self:
        """Return the database of settings, as `connect` made it: with a store named when opening, or not."""
        db = cls(settings)
        db._store_named = store_named
        return db

    @property
    def store_named(self) -> bool:
        """True where the store was named when opening, and is taken whatever a dataset recorded."""
        return self._store_named

    @property
    def is_open(self) -> bool:
        """True while the catalog is open."""
        return self._catalog is not None

    @property
    def catalog(self) -> Catalog:
        """Return the catalog, opened for reading if it is not open yet."""
        return self._opened(create=False)

    def _opened(self, *, create: bool) -> Catalog:
        from imaging_db.catalog import Catalog

        with self._opening:
            if self._catalog is None:
                self._catalog = Catalog.open(self.settings.database, create=create)
            return self._catalog

    def _has_no_file(self) -> bool:
        """Return True for a SQLite catalog whose file is not there, or empty: looking would write to it."""
        database = self.settings.database
        if not database.is_sqlite or database.dbname == ":memory:":
            return False
        path = Path(database.dbname)
        return not path.exists() or (path.is_file() and path.stat().st_size == 0)

    def _is_empty(self) -> bool:
        """Return True for a database without tables, which the first upload will give them."""
        from imaging_db.catalog import schema

        return schema.current(self.settings.database).state is schema.SchemaState.EMPTY

    @property
    def store(self) -> Store:
        """Return the store that uploads go to."""
        return self._store(self.settings.store)

    def store_of(self, dataset: Dataset) -> Store:
        """Return the store that holds a dataset: as named when opening, else as recorded, else as configured.

        A recorded folder that this machine does not have gives way to the configured one.
        """
        return self._store(self._place_of(dataset))

    def _place_of(self, dataset: Dataset) -> StoreSettings:
        configured = self.settings.store
        if self._store_named or dataset.storage is None or dataset.storage_access is None:
            return configured
        recorded = StoreSettings(dataset.storage, dataset.storage_access)
        if dataset.storage == "s3":
            return replace(recorded, endpoint_url=configured.endpoint_url)
        elsewhere = dataset.storage == "local" and not Path(dataset.storage_access).is_dir()
        return configured if elsewhere else recorded

    def reach(self, dataset: Dataset) -> None:
        """Let pass a dataset whose store answers, and is no bare mount point; raises as `Store.probe`."""
        from imaging_db.transfer.emptied import check_mounted

        check_mounted(self.catalog, self._place_of(dataset))
        self.store_of(dataset).probe(write=False)

    def _at_hand(self, dataset: Dataset) -> Store:
        """Return the store that holds a dataset; `StoreDenied` where its disk is not mounted."""
        from imaging_db.transfer.at_hand import require_some
        from imaging_db.transfer.emptied import check_mounted

        store, place = self.store_of(dataset), self._place_of(dataset)
        check_mounted(self.catalog, place)
        if not self._store_named:
            require_some(store, place, dataset)
        return store

    def _store(self, settings: StoreSettings) -> Store:
        from imaging_db.stores.registry import open_store

        with self._opening:
            if settings not in self._stores:
                self._stores[settings] = open_store(settings)
            return self._stores[settings]

    def close(self) -> None:
        """Close catalog and stores; closing twice is allowed."""
        if self._catalog is not None:
            self._catalog.close()
            self._catalog = None
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
