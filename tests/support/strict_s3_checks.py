"""What the strict S3 refuses: bytes that are not what their sums say, clocks that are off."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_SECONDS_OFF = 15 * 60


class Refused(Exception):
    """An answer that is no success, with S3's code for it; ``extra`` is XML."""

    def __init__(self, status: int, code: str, extra: str = "") -> None:
        self.status, self.code, self.extra = status, code, extra


def base64_of(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def sum_of(data: bytes) -> str:
    """Return the SHA-256 as S3 writes it."""
    return base64_of(hashlib.sha256(data).digest())


def etag_of(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


_SUMS: dict[str, Callable[[bytes], str]] = {
    "x-amz-checksum-sha256": sum_of,
    "x-amz-checksum-sha1": lambda data: base64_of(hashlib.sha1(data).digest()),
    "x-amz-checksum-crc32": lambda data: base64_of(zlib.crc32(data).to_bytes(4, "big")),
}
_SUM = "x-amz-checksum-"


def check_sums(headers: Mapping[str, str], data: bytes, *, checksums: bool) -> None:
    """Refuse ``data`` that is not what a header says; without ``checksums`` only the old one counts."""
    found = {name.lower(): text for name, text in headers.items()}
    expected = found.get("content-md5")
    if expected and expected != base64_of(hashlib.md5(data).digest()):
        raise Refused(400, "BadDigest")
    if not checksums:
        return
    signed = found.get("x-amz-content-sha256", "")
    if len(signed) == 64 and signed != hashlib.sha256(data).hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")
    for name, expected in found.items():
        if not name.startswith(_SUM) or name in (f"{_SUM}mode", f"{_SUM}algorithm"):
            continue
        if name not in _SUMS:
            raise Refused(501, "NotImplemented")
        if expected != _SUMS[name](data):
            raise Refused(400, "BadDigest")


def check_length(headers: Mapping[str, str], data: bytes, method: str) -> None:
    """Refuse a body whose length nobody told, or that ended before it."""
    told = headers.get("Content-Length")
    if told is None and method in ("PUT", "POST"):
        raise Refused(411, "MissingContentLength")
    if told is not None and len(data) != int(told):
        raise Refused(400, "IncompleteBody")


def check_clock(headers: Mapping[str, str], now: datetime) -> None:
    """Refuse a request whose date is more than fifteen minutes away from ``now``."""
    told = headers.get("X-Amz-Date") or headers.get("Date")
    if told is None:
        return
    try:
        there = datetime.strptime(told, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        there = parsedate_to_datetime(told)
    if abs((there - now).total_seconds()) > MOST_SECONDS_OFF:
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        extra = f"<RequestTime>{told}</RequestTime><ServerTime>{at}</ServerTime>"
        raise Refused(403, "RequestTimeTooSkewed", extra)


def is_kept(name: str) -> bool:
    """Return True for a header of a PUT that later answers repeat."""
    return name.lower().startswith("x-amz-meta-") or name.lower() == "x-amz-checksum-sha256"


def flipped(data: bytes) -> bytes:
    """Return ``data`` with one bit changed."""
    return bytes([data[0] ^ 1]) + data[1:] if data else data
