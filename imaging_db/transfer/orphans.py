"""What a store holds that the catalog does not know: folders of no dataset, and keys without a row.

Nothing here removes anything. In doubt a thing is known: names are compared without regard to case and to
how accents are composed, because some file systems do so, and no folder of a dataset is ever taken for
one of none, whatever store the dataset is in.
"""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from imaging_db.catalog import Catalog, Place
from imaging_db.config.settings import StoreSettings
from imaging_db.errors import InvalidDatasetId
from imaging_db.model import Dataset, DatasetId, DatasetStatus
from imaging_db.stores.base import ObjectInfo, Store
from imaging_db.stores.layout import dataset_folders, split_storage_dir


@dataclass(frozen=True, slots=True)
class Owner:
    """A dataset that a folder belongs to. ``here``: its objects are in the store that is looked at."""

    serial: str
    directory: str
    ready: bool
    here: bool


@dataclass
class Owners:
    """The datasets of a catalog by their folders, and by their serials."""

    _by_folder: dict[str, list[Owner]] = field(default_factory=dict)
    _by_serial: dict[str, Owner] = field(default_factory=dict)
    _odd: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, catalog: Catalog, store: StoreSettings, *, without: Collection[str] = ()) -> Owners:
        """Return those of every dataset, ready or not; unfinished ones ``without`` some serials.

        The unfinished come first: one that becomes ready meanwhile is then met twice rather than never.
        """
        found = cls()
        for one in catalog.pending():
            if one.dataset.serial not in without:
                found.add(one.dataset, store)
        for dataset in catalog.datasets():
            found.add(dataset, store)
        return found

    def add(self, dataset: Dataset, store: StoreSettings) -> None:
        """Take one dataset."""
        directory = dataset.storage_dir.strip("/")
        ready = dataset.status is DatasetStatus.READY
        owner = Owner(dataset.serial, directory, ready, is_here(dataset, store))
        of_folder = self._by_folder.setdefault(fold(directory), [])
        if all(other.serial != owner.serial for other in of_folder):
            of_folder.append(owner)
        self._by_serial.setdefault(fold(dataset.serial), owner)
        if directory.count("/") != 1:  # not as we lay them out: nothing around it is touched
            self._odd.add(fold("/".join(directory.split("/")[:2])))

    def of_folder(self, directory: str) -> list[Owner]:
        """Return the datasets whose folder this is; several where rows of imagingDB share one."""
        return self._by_folder.get(fold(directory), [])

    def of_serial(self, serial: str) -> Owner | None:
        """Return the dataset of a serial, wherever its folder is."""
        return self._by_serial.get(fold(serial))

    def is_odd(self, directory: str) -> bool:
        """Return True for a folder with a dataset somewhere inside it, or one that lies inside a dataset."""
        folded = fold(directory)
        return folded in self._odd or folded.partition("/")[0] in self._odd


def is_here(dataset: Dataset, store: StoreSettings) -> bool:
    """Return True where a dataset was uploaded to this store, or nothing else is known."""
    if dataset.storage is None or dataset.storage_access is None:
        return True
    return (dataset.storage, dataset.storage_access) == (store.storage, store.access)


def folders(
    store: Store, tops: Iterable[str] = dataset_folders()
) -> Iterator[tuple[str, Iterator[ObjectInfo]]]:
    """Yield each folder that could be a dataset's, with its objects as the store lists them.

    The objects of one have to be taken before the next folder.
    """
    for top in tops:
        for directory, objects in groupby(store.list(top), lambda found: folder_of(found.key)):
            if directory:
                yield directory, objects


def folder_of(key: str) -> str:
    """Return the folder of a dataset that a key lies in, empty where it lies in none."""
    top, _, rest = key.partition("/")
    serial, slash, _ = rest.partition("/")
    return f"{top}/{serial}" if slash and top in dataset_folders() else ""


def place_of(directory: str, store: StoreSettings) -> Place | None:
    """Return what a folder's name says, None where no upload of ours can have made it."""
    found = split_storage_dir(directory)
    try:
        if found is None or str(DatasetId.parse(found[1])) != found[1]:
            return None
    except InvalidDatasetId:
        return None
    upload_type, serial = found
    return Place(serial, upload_type, store.storage, store.access, directory)


class Names:
    """The names of one dataset's objects, in eight bytes each, in any order.

    Two that share a hash are taken for one: then one object that nobody knows stays.
    """

    def __init__(self, names: Iterable[str]) -> None:
        import numpy as np

        self._hashes = array("q", (hash(fold(name)) for name in names))
        np.frombuffer(self._hashes, np.int64).sort() if self._hashes else None

    def __contains__(self, name: str) -> bool:
        wanted = hash(fold(name))
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted


def without_row(
    objects: Iterable[ObjectInfo], directory: str, names: Names
) -> Iterator[ObjectInfo]:
    """Yield the objects below a dataset's folder whose names are none of its own."""
    for found in objects:
        if found.key[len(directory) + 1 :] not in names:
            yield found


def fold(text: str) -> str:
    """Return a name as the file systems compare it that care least."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
