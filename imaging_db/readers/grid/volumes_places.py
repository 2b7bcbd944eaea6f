"""Where a volume lies: a folder or file of this computer, or an address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from imaging_db.errors import ConfigError


def place_of(text: str, *, key: str, schemes: tuple[str, ...] | None = None) -> Path | str:
    """Return a path for what is on this computer (also ``file://``), else the address without its last slash.

    With ``schemes`` other addresses are refused.

    Raises
    ------
    ConfigError
        An address of another scheme, or one that holds a name or password, or a signature behind '?':
        settings are kept in the catalog.
    """
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme == "file":
        return Path(url2pathname(parts.netloc + parts.path))
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{key}: must not hold a name or password", hint="settings are kept in the catalog"
        )
    if parts.scheme in ("http", "https") and (parts.query or parts.fragment):
        raise ConfigError(
            f"{key}: must end before '?' and '#'", hint="settings are kept in the catalog"
        )
    if schemes is not None and parts.scheme not in schemes:
        known = ", ".join(f"{scheme}://" for scheme in ("file", *schemes))
        raise ConfigError(f"{key}: {parts.scheme}:// is none of {known}")
    return text.rstrip("/")
