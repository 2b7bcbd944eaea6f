"""A small S3 that checks what it is sent and misbehaves on demand.

It looks at checksums, lengths, clocks, at ``If-None-Match`` and at the order of keys as Amazon documents
them, and lists at most a thousand keys a page. Signatures are not looked at.

::

    with StrictS3() as server:
        server.fault("PUT", status=503, code="SlowDown", times=2)   # two refusals, then it works
        server.fault("PUT", "lose answer")                          # done, but nobody hears of it
        server.fault("GET", "truncate")

A fault meets the next requests of its method; ``server.requests`` and ``server.headers`` tell what came.

With a folder it keeps everything there, and may be a process of its own that prints its URL. Killed and
started again on the same port, it has everything that it had answered. ::

    python -m tests.support.strict_s3 --folder objects --port 9000
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.support.strict_s3_objects import BUCKET, Object, shelves
from tests.support.strict_s3_requests import Request

_ROOT = Path(__file__).parents[2]
_MODES = ("honour", "ignore", "reject", "busy")


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

    ``"honour"`` as S3 does, ``"ignore"`` as many look-alikes do, ``"reject"`` with 501; ``"busy"`` answers
    409 to the first such PUT of each key, as S3 does in a race. Without ``md5`` its ETags are no MD5, as
    those of encrypted buckets. Its clock is ``clock_off`` seconds ahead. With ``folder``, it keeps its
    objects there.
    """

    def __init__(
        self,
        *,
        conditional: str = "honour",
        checksums: bool = True,
        md5: bool = True,
        folder: Path | None = None,
        port: int = 0,
        clock_off: float = 0,
        bucket: str = BUCKET,
    ) -> None:
        self.conditional = conditional
        self.checksums = checksums
        self.md5 = md5
        self.clock_off = clock_off
        self.buckets, self.uploads = shelves(folder, bucket)
        self.raced: set[str] = set()
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.RLock()
        self.faults: list[Fault] = []
        self._server = _Server(("127.0.0.1", port), Request)
        self._server.s3 = self
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
        return self.buckets[BUCKET]

    def now(self) -> datetime:
        """Return the time by this server's own clock."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_off)

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    s3: StrictS3

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent where a client has gone; tell everything else."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class S3Process:
    """A strict S3 over a folder in a process of its own, to be killed and started again on its port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._port = 0
        self.url = ""
        self.start()

    def start(self) -> None:
        """Return once it answers, with what it had acknowledged before it was killed."""
        words = ["--folder", str(self._folder), "--port", str(self._port), *self._options]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.strict_s3", *words],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "it did not start"
        self._port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def objects(self) -> dict[str, Object]:
        """What is on its disk, whole; it must not run."""
        return shelves(self._folder)[0][BUCKET]


@contextmanager
def s3_process(folder: Path, *options: str) -> Iterator[S3Process]:
    """Return a strict S3 in a process of its own, killed at the end."""
    server = S3Process(folder, *options)
    try:
        yield server
    finally:
        server.kill()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where objects are kept; memory without it")
    parser.add_argument("--port", type=int, default=0, help="0 takes any that is free")
    parser.add_argument("--bucket", default=BUCKET, help="the name of its bucket")
    parser.add_argument("--conditional", choices=_MODES, default="honour")
    parser.add_argument("--no-checksums", action="store_true", help="ignore what it need not know")
    parser.add_argument(
        "--clock-off", type=float, default=0, help="seconds that its clock is ahead"
    )
    args = parser.parse_args()
    server = StrictS3(
        conditional=args.conditional,
        checksums=not args.no_checksums,
        folder=args.folder,
        port=args.port,
        clock_off=args.clock_off,
        bucket=args.bucket,
    )
    with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
