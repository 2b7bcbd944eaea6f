"""A small S3 that checks what it is sent and misbehaves on demand.

It looks at checksums, at ``If-None-Match`` and at the order of keys as Amazon documents them, lists at
most a thousand keys a page, and keeps everything in memory. Signatures are not looked at.

::

    with StrictS3() as server:
        server.fault("PUT", status=503, code="SlowDown", times=2)   # two refusals, then it works
        server.fault("PUT", "lose answer")                          # done, but nobody hears of it
        server.fault("GET", "truncate")

A fault meets the next requests of its method; ``server.requests`` and ``server.headers`` tell what came.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

PAGE = 1000


@dataclass
class Object:
    """Bytes with the headers that a HEAD gives back."""

    data: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Upload:
    """Parts by number, and the headers that the object will have."""

    headers: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Fault:
    """What goes wrong, how often, and for which requests."""

    method: str
    kind: str
    times: int
    status: int
    code: str
    extra: str
    seconds: float
    containing: str
    page: bytes


class StrictS3:
    """The server; a context manager. ``conditional`` is what it does with ``If-None-Match``.

    ``"honour"`` as S3 does, ``"ignore"`` as many look-alikes do, ``"reject"`` with 501. Without ``md5`` its
    ETags are no MD5, as those of encrypted buckets.
    """

    def __init__(
        self, *, conditional: str = "honour", checksums: bool = True, md5: bool = True
    ) -> None:
        self.conditional = conditional
        self.checksums = checksums
        self.md5 = md5
        self.buckets: dict[str, dict[str, Object]] = {"lab": {}}
        self.uploads: dict[str, Upload] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.RLock()
        self.faults: list[Fault] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.s3 = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> StrictS3:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def objects(self) -> dict[str, Object]:
        """The objects of the bucket ``lab``."""
        return self.buckets["lab"]

    def fault(
        self,
        method: str,
        kind: str = "status",
        *,
        times: int = 1,
        status: int = 0,
        code: str = "InternalError",
        extra: str = "",
        seconds: float = 0,
        containing: str = "",
        page: bytes = b"",
    ) -> None:
        """Plan a fault for the next ``times`` requests of ``method`` whose path has ``containing``.

        ``status``: refuse with it. ``reset``: hang up before doing anything. ``lose answer``: do it, then
        hang up. ``truncate``: cut the body of the answer. ``flip``: change a bit of it. ``page``: answer
        with that page, and 200 unless ``status`` is given. ``damage``: change a bit of what arrives.
        ``wait``: be silent for so long.
        """
        ok = 200 if kind == "page" else 500
        self.faults.append(
            Fault(method, kind, times, status or ok, code, extra, seconds, containing, page)
        )

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.method == method and fault.containing in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None


class _Refused(Exception):
    def __init__(self, status: int, code: str, extra: str = "") -> None:
        self.status, self.code, self.extra = status, code, extra


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        self.s3: StrictS3 = self.server.s3  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        self.query = {name: text[0] for name, text in parse_qs(parts.query, True).items()}
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.headers.append(dict(self.headers.items()))
        self.fault = self.s3.next_fault(self.command, self.path)
        kind = self.fault.kind if self.fault else ""
        if self.fault and kind == "wait":
            time.sleep(self.fault.seconds)
        if kind == "damage":
            self.body = _flipped(self.body)
        try:
            if kind == "reset":
                return self._hang_up()
            if self.fault and kind == "status":
                raise _Refused(self.fault.status, self.fault.code, self.fault.extra)
            if self.fault and kind == "page":
                return self._answer(self.fault.status, self.fault.page)
            with self.s3.lock:
                status, body, headers = self._act(bucket, key)
        except _Refused as refused:
            text = f"<Error><Code>{refused.code}</Code>{refused.extra}</Error>"
            return self._answer(refused.status, text.encode())
        if kind == "lose answer":
            return self._hang_up()
        return self._answer(status, body, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - names of the library

    def _act(self, bucket: str, key: str) -> tuple[int, bytes, dict[str, str]]:
        objects = self.s3.buckets.get(bucket)
        if objects is None:
            raise _Refused(404, "NoSuchBucket")
        if not key:
            return 200, self._listing(objects), {}
        if self.command in ("GET", "HEAD"):
            if key not in objects:
                raise _Refused(404, "NoSuchKey")
            found = objects[key]
            return 200, found.data, {"ETag": self._etag_of(found.data), **found.headers}
        if self.command == "DELETE":
            if "uploadId" in self.query:
                self.s3.uploads.pop(self.query["uploadId"], None)
            else:
                objects.pop(key, None)
            return 204, b"", {}
        return self._put(objects, key)

    def _put(self, objects: dict[str, Object], key: str) -> tuple[int, bytes, dict[str, str]]:
        if "uploads" in self.query:
            upload = uuid.uuid4().hex
            self.s3.uploads[upload] = Upload(self._kept())
            text = f"<R><UploadId>{upload}</UploadId></R>"
            return 200, text.encode(), {}
        self._check_sums()
        if "partNumber" in self.query:
            self._upload().parts[int(self.query["partNumber"])] = self.body
            return 200, b"", {"ETag": _etag(self.body)}
        self._check_condition(objects, key)
        if "uploadId" in self.query:
            return 200, self._complete(objects, key), {}
        objects[key] = Object(self.body, self._kept())
        return 200, b"", {"ETag": self._etag_of(self.body)}

    def _complete(self, objects: dict[str, Object], key: str) -> bytes:
        upload = self._upload()
        nodes = ElementTree.fromstring(self.body).iter()
        numbers = [int(node.text or 0) for node in nodes if node.tag.endswith("PartNumber")]
        if numbers != sorted(upload.parts):
            raise _Refused(400, "InvalidPart")
        parts = [upload.parts[number] for number in numbers]
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        composite = {
            "x-amz-checksum-sha256": f"{_sum(digests)}-{len(parts)}",
            "ETag": _etag(digests),
        }
        objects[key] = Object(b"".join(parts), upload.headers | composite)
        del self.s3.uploads[self.query["uploadId"]]
        return f"<R><ETag>{_etag(digests)}</ETag></R>".encode()

    def _etag_of(self, data: bytes) -> str:
        return _etag(data) if self.s3.md5 else _etag(b"encrypted " + data)

    def _upload(self) -> Upload:
        if self.query["uploadId"] not in self.s3.uploads:
            raise _Refused(404, "NoSuchUpload")
        return self.s3.uploads[self.query["uploadId"]]

    def _check_sums(self) -> None:
        expected = self.headers.get("x-amz-content-sha256", "")
        signed = self.s3.checksums and len(expected) == 64
        if signed and expected != hashlib.sha256(self.body).hexdigest():
            raise _Refused(400, "XAmzContentSHA256Mismatch")
        expected = self.headers.get("x-amz-checksum-sha256")
        if self.s3.checksums and expected and expected != _sum(self.body):
            raise _Refused(400, "BadDigest")
        expected = self.headers.get("Content-MD5")
        if expected and expected != base64.b64encode(hashlib.md5(self.body).digest()).decode():
            raise _Refused(400, "BadDigest")

    def _check_condition(self, objects: dict[str, Object], key: str) -> None:
        if self.headers.get("If-None-Match") != "*" or self.s3.conditional == "ignore":
            return
        if self.s3.conditional == "reject":
            raise _Refused(501, "NotImplemented")
        if key in objects:
            raise _Refused(412, "PreconditionFailed")

    def _listing(self, objects: dict[str, Object]) -> bytes:
        most = min(PAGE, int(self.query.get("max-keys", PAGE)))
        after = unquote(self.query.get("continuation-token", ""))
        below = sorted(key for key in objects if key.startswith(self.query.get("prefix", "")))
        left = [key for key in below if key > after]
        items = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><Size>{len(objects[key].data)}</Size></Contents>"
            for key in left[:most]
        )
        more = len(left) > most
        token = (
            f"<NextContinuationToken>{escape(quote(left[most - 1]))}</NextContinuationToken>"
            if more
            else ""
        )
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}"
            f"</IsTruncated>{token}{items}</ListBucketResult>"
        ).encode()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        kind = self.fault.kind if self.fault else ""
        self.wfile.write(
            _flipped(body)
            if kind == "flip"
            else body[: len(body) // 2]
            if kind == "truncate"
            else body
        )
        if kind == "truncate":
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True

    def _kept(self) -> dict[str, str]:
        return {name: text for name, text in self.headers.items() if _is_kept(name)}

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _is_kept(name: str) -> bool:
    return name.lower().startswith("x-amz-meta-") or name.lower() == "x-amz-checksum-sha256"


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _sum(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:] if data else data
