"""What doctor looks at between computers: clocks, encryption, proxies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from imaging_db.api import ImagingDB
from imaging_db.config import DatabaseSettings, StoreSettings
from imaging_db.errors import ImagingDBError, StoreUnavailable
from imaging_db.stores.selftest import Check

_APART = timedelta(seconds=2)
_COARSE = timedelta(seconds=1)  # S3 tells whole seconds
_TOO_FAR = timedelta(minutes=15)  # S3 refuses every request that is signed more than that off
_HERE = ("localhost", "::1", "")


def database(settings: DatabaseSettings) -> Iterator[Check]:
    """Yield a note where the way to PostgreSQL may be open to others."""
    host = settings.host or ""
    if settings.is_sqlite or _is_here(host) or host.startswith("/"):
        return
    mode = os.environ.get("PGSSLMODE", "")
    if mode not in ("require", "verify-ca", "verify-full"):
        text = f"{host} is asked for TLS and not required to use it"
        yield Check("database TLS", "note", text, "set PGSSLMODE=verify-full, with PGSSLROOTCERT")


def store(settings: StoreSettings) -> Iterator[Check]:
    """Yield what is unsafe or unusual on the way to S3."""
    if settings.storage != "s3":
        return
    parts = urlsplit(_endpoint(settings))
    host = parts.hostname or ""
    if parts.scheme == "http" and not _is_here(host):
        text = f"what goes to {host} can be read and changed on the way (http)"
        yield Check("store TLS", "warning", text, "use https:// in endpoint_url")
    if parts.username or parts.password:
        text = "AWS_ENDPOINT_URL holds a name or a password, which S3 has no use for"
        yield Check("store TLS", "warning", text, "take it out: messages may show it")
    proxy = os.environ.get(f"{parts.scheme}_proxy") or os.environ.get(
        f"{parts.scheme.upper()}_PROXY"
    )
    if proxy and not _is_here(host):
        name = (
            urlsplit(proxy).hostname or "a proxy"
        )  # without the name and password that it may hold
        text = f"S3 is reached through {name}"
        yield Check("proxy", "note", text, f"name {host} in NO_PROXY if that is not meant")


def clocks(db: ImagingDB, *, catalog: bool, store: bool) -> Iterator[Check]:
    """Yield how far the clocks of the database and of the store, where they answer, are from ours."""
    if catalog and not db.settings.database.is_sqlite:
        yield from _clock("database clock", lambda: db.catalog.now(), fatal=False)
    if store:
        remote = db.settings.store.storage == "s3"
        yield from _clock("store clock", lambda: db.store.now(), fatal=remote)


def _clock(name: str, ask: Callable[[], datetime], *, fatal: bool) -> Iterator[Check]:
    """Yield by how much a clock is off; nothing where it cannot be asked, which is told elsewhere.

    ``fatal``: a server that refuses requests which are signed too far from its time.
    """
    asked = datetime.now(UTC)
    try:
        there = ask()
    except StoreUnavailable as error:
        if "clock" in error.message:
            yield Check(name, "failed", error.message, error.hint, error.exit_code)
        return
    except ImagingDBError:
        return
    waited = datetime.now(UTC) - asked
    off = there - (asked + waited / 2)
    seconds = round(off.total_seconds(), 1)
    text = f"{abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} this computer's"
    if abs(off) > _TOO_FAR and fatal:
        yield Check(
            name, "failed", text, "set the clock of this computer", StoreUnavailable.exit_code
        )
    elif abs(off) > _APART + waited + _COARSE:
        yield Check(name, "note", text, "let both computers set their clocks by NTP")
    else:
        yield Check(name, "ok", "agrees with this computer's")


def _endpoint(settings: StoreSettings) -> str:
    named = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return settings.endpoint_url or named or "https://s3.amazonaws.com"


def _is_here(host: str) -> bool:
    return host in _HERE or host.startswith("127.")
