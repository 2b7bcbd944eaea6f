"""The catalog: the rows that say what exists, over SQLite and PostgreSQL."""

from imaging_db.catalog.catalog import Catalog
from imaging_db.catalog.claims import Unfinished
from imaging_db.catalog.deletions import Deletable, Place

__all__ = ["Catalog", "Deletable", "Place", "Unfinished"]
