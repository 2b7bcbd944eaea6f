"""Work orders: all that a worker needs to do units of a job, on whatever computer it runs."""

from __future__ import annotations

from dataclasses import dataclass

from imaging_db.config.settings import StoreSettings
from imaging_db.model import JSONObject


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """What is read and where it goes; pickles, holds no secret and no connection to the catalog.

    ``source`` opens the frames; ``directory`` is the dataset's prefix in the store, ``codec`` what its
    frames are asked to have. With ``flush`` the worker makes what it put survive a power cut itself, because
    it may run on another computer than the one that writes the rows.
    """

    uuid: str
    source: JSONObject
    directory: str
    codec: str
    store: StoreSettings
    flush: bool = False

    def __hash__(self) -> int:
        return hash(self.uuid)
