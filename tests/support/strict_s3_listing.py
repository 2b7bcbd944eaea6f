"""The pages that the strict S3 answers a listing with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from tests.support.strict_s3_objects import Object

PAGE = 1000


def http_date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def objects_page(objects: Mapping[str, Object], query: Mapping[str, str]) -> bytes:
    """Return one page of keys, at most a thousand, and where the next begins."""
    most = min(PAGE, int(query.get("max-keys", PAGE)))
    after = unquote(query.get("continuation-token", ""))
    below = sorted(key for key in objects if key.startswith(query.get("prefix", "")))
    left = [key for key in below if key > after]
    items = "".join(_item(key, objects[key]) for key in left[:most])
    more = len(left) > most
    token = escape(quote(left[most - 1])) if more else ""
    return (
        f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}"
        f"</IsTruncated>{f'<NextContinuationToken>{token}</NextContinuationToken>' if more else ''}"
        f"{items}</ListBucketResult>"
    ).encode()


def uploads_page(uploads: Mapping[str, Object], query: Mapping[str, str]) -> bytes:
    """Return the uploads in parts that nobody has completed or aborted."""
    items = "".join(
        f"<Upload><Key>{escape(found.headers['key'])}</Key><UploadId>{upload}</UploadId>"
        f"<Initiated>{_iso(found.modified)}</Initiated></Upload>"
        for upload, found in sorted(uploads.items())
        if "/" not in upload and found.headers["key"].startswith(query.get("prefix", ""))
    )
    return (
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
        f"{items}</ListMultipartUploadsResult>"
    ).encode()


def _item(key: str, found: Object) -> str:
    return (
        f"<Contents><Key>{escape(quote(key))}</Key><Size>{len(found.data)}</Size>"
        f"<LastModified>{_iso(found.modified)}</LastModified></Contents>"
    )


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
