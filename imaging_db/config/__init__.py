"""Settings, where they are found, and the CSV of an upload."""

from imaging_db.config.discovery import config_home, data_home, find_config, find_login
from imaging_db.config.load import load_settings
from imaging_db.config.manifest import Manifest, ManifestRow, read_manifest
from imaging_db.config.metadata_schema import MetadataSchema
from imaging_db.config.problems import Problems
from imaging_db.config.settings import DatabaseSettings, Settings, StoreSettings, UploadSettings

__all__ = [
    "DatabaseSettings",
    "Manifest",
    "ManifestRow",
    "MetadataSchema",
    "Problems",
    "Settings",
    "StoreSettings",
    "UploadSettings",
    "config_home",
    "data_home",
    "find_config",
    "find_login",
    "load_settings",
    "read_manifest",
]
