"""imaging_db: an imaging database that keeps every frame complete and byte-exact."""

__version__ = "0.1.0"
