"""The Python API: one catalog, its stores and the readers."""

from imaging_db.api.database import ImagingDB
from imaging_db.api.dataset_view import DatasetView, Frames

__all__ = ["DatasetView", "Frames", "ImagingDB"]
