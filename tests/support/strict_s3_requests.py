"""One request to the strict S3: the fault that was planned for it, or what S3 would do."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import MutableMapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree

from tests.support.strict_s3_checks import (
    Refused,
    check_clock,
    check_length,
    check_sums,
    etag_of,
    flipped,
    is_kept,
    sum_of,
)
from tests.support.strict_s3_listing import http_date, objects_page, uploads_page
from tests.support.strict_s3_objects import Object

if TYPE_CHECKING:
    from tests.support.strict_s3 import StrictS3

Objects: TypeAlias = MutableMapping[str, Object]
Answer: TypeAlias = tuple[int, bytes, dict[str, str]]


class Request(BaseHTTPRequestHandler):
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
        try:
            if kind == "reset":
                return self._hang_up()
            if self.fault and kind == "status":
                raise Refused(self.fault.status, self.fault.code, self.fault.extra)
            if self.fault and kind == "page":
                return self._answer(self.fault.status, self.fault.page)
            check_length(self.headers, self.body, self.command)
            if kind == "damage":
                self.body = flipped(self.body)
            with self.s3.lock:
                status, body, headers = self._act(bucket, key)
        except Refused as refused:
            text = f"<Error><Code>{refused.code}</Code>{refused.extra}</Error>"
            return self._answer(refused.status, text.encode())
        if kind == "lose answer":
            return self._hang_up()
        return self._answer(status, body, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - names of the library

    def _act(self, bucket: str, key: str) -> Answer:
        check_clock(self.headers, self.s3.now())
        objects = self.s3.buckets.get(bucket)
        if objects is None:
            raise Refused(404, "NoSuchBucket")
        if not key:
            return 200, self._listing(objects), {}
        if self.command in ("GET", "HEAD"):
            return self._found(objects, key)
        if self.command == "DELETE":
            if "uploadId" in self.query:
                self._forget_upload()
            elif key in objects:
                del objects[key]
            return 204, b"", {}
        return self._put(objects, key)

    def _listing(self, objects: Objects) -> bytes:
        if "uploads" in self.query:
            return uploads_page(self.s3.uploads, self.query)
        return objects_page(objects, self.query)

    def _found(self, objects: Objects, key: str) -> Answer:
        if key not in objects:
            raise Refused(404, "NoSuchKey")
        found = objects[key]
        told = {"ETag": self._etag_of(found.data), "Last-Modified": http_date(found.modified)}
        return 200, found.data, told | found.headers

    def _put(self, objects: Objects, key: str) -> Answer:
        if "uploads" in self.query:
            upload = uuid.uuid4().hex
            self.s3.uploads[upload] = Object(b"", self._kept() | {"key": key}, self._seconds())
            return 200, f"<R><UploadId>{upload}</UploadId></R>".encode(), {}
        check_sums(self.headers, self.body, checksums=self.s3.checksums)
        if "partNumber" in self.query:
            self._upload()
            part = f"{self.query['uploadId']}/{int(self.query['partNumber']):05d}"
            self.s3.uploads[part] = Object(self.body)
            return 200, b"", {"ETag": etag_of(self.body)}
        self._check_condition(objects, key)
        if "uploadId" in self.query:
            return 200, self._complete(objects, key), {}
        objects[key] = Object(self.body, self._kept(), self._seconds())
        return 200, b"", {"ETag": self._etag_of(self.body)}

    def _complete(self, objects: Objects, key: str) -> bytes:
        upload = self._upload()
        nodes = ElementTree.fromstring(self.body).iter()
        numbers = [int(node.text or 0) for node in nodes if node.tag.endswith("PartNumber")]
        start = f"{self.query['uploadId']}/"
        there = {int(name.removeprefix(start)): name for name in self._parts()}
        if numbers != sorted(there):
            raise Refused(400, "InvalidPart")
        parts = [self.s3.uploads[there[number]].data for number in numbers]
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        headers = {name: text for name, text in upload.headers.items() if name != "key"}
        headers["x-amz-checksum-sha256"] = f"{sum_of(digests)}-{len(parts)}"
        headers["ETag"] = etag_of(digests)
        objects[key] = Object(b"".join(parts), headers, self._seconds())
        self._forget_upload()
        return f"<R><ETag>{etag_of(digests)}</ETag></R>".encode()

    def _upload(self) -> Object:
        if self.query["uploadId"] not in self.s3.uploads:
            raise Refused(404, "NoSuchUpload")
        return self.s3.uploads[self.query["uploadId"]]

    def _parts(self) -> list[str]:
        return [name for name in self.s3.uploads if name.startswith(f"{self.query['uploadId']}/")]

    def _forget_upload(self) -> None:
        for name in [*self._parts(), self.query["uploadId"]]:
            if name in self.s3.uploads:
                del self.s3.uploads[name]

    def _check_condition(self, objects: Objects, key: str) -> None:
        mode = self.s3.conditional
        if self.headers.get("If-None-Match") != "*" or mode == "ignore":
            return
        if mode == "reject":
            raise Refused(501, "NotImplemented")
        if mode == "busy" and key not in self.s3.raced:
            self.s3.raced.add(key)
            raise Refused(409, "ConditionalRequestConflict")
        if key in objects:
            raise Refused(412, "PreconditionFailed")

    def _etag_of(self, data: bytes) -> str:
        return etag_of(data) if self.s3.md5 else etag_of(b"encrypted " + data)

    def _seconds(self) -> float:
        return self.s3.now().timestamp()

    def _kept(self) -> dict[str, str]:
        return {name: text for name, text in self.headers.items() if is_kept(name)}

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        self.send_header("Date", http_date(self._seconds()))
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        kind = self.fault.kind if self.fault else ""
        sent = {"flip": flipped(body), "truncate": body[: len(body) // 2]}
        self.wfile.write(sent.get(kind, body))
        if kind == "truncate":
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
