"""Settings: what login and config say, frozen and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from imaging_db.model import UploadType

STORAGES = ("local", "s3")
CODECS = ("png", "jxl", "tiff")


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the catalog is. ``drivername`` is ``sqlite`` or ``postgresql+psycopg2``.

    For SQLite ``dbname`` is an absolute path, or ``:memory:``. The password is left out of ``repr``.
    """

    drivername: str
    dbname: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    port: int | None = None

    @property
    def is_sqlite(self) -> bool:
        """True where the catalog is one file."""
        return self.drivername == "sqlite"

    @property
    def address(self) -> str:
        """Return the catalog for people, without the password."""
        if self.is_sqlite:
            return f"sqlite:{self.dbname}"
        user = f"{quote(self.username)}@" if self.username else ""
        port = f":{self.port}" if self.port else ""
        return f"postgresql://{user}{self.host or ''}{port}/{self.dbname}"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where the bytes are. ``storage`` is one of `STORAGES`, or a plugin's name.

    ``access`` is an absolute folder for ``local``, a bucket name for ``s3``; ``endpoint_url`` names an
    S3-compatible server. Credentials are found by boto3's own rules, never kept here.
    """

    storage: str
    access: str
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class UploadSettings:
    """How sources are read and frames are kept, as the config says; ``frames_codec`` is one of `CODECS`.

    A limit that is None is the reader's own.
    """

    upload_type: UploadType = UploadType.FRAMES
    frames_format: str | None = None
    microscope: str | None = None
    filename_parser: str | None = None
    meta_schema: Path | None = None
    max_frame_bytes: int | None = None
    max_frames: int | None = None
    max_metadata_bytes: int | None = None
    frames_codec: str = "png"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run needs to know; ``origins`` tells for each key which file or default said so."""

    database: DatabaseSettings
    store: StoreSettings
    upload: UploadSettings = field(default_factory=UploadSettings)
    origins: dict[str, str] = field(default_factory=dict, compare=False)
