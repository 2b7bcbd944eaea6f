"""The signature of one request to S3: "Signature Version 4" of the AWS general reference.

botocore signs the same in ten times the time. `tests/unit/stores/test_s3_short.py` compares the two.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

ALGORITHM = "AWS4-HMAC-SHA256"


class Signer:
    """Signs in one region. The key that is derived from a secret holds for a day and is kept that long."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._known: tuple[tuple[str | None, str], bytes] = (None, ""), b""

    def signed(
        self,
        method: str,
        path: str,
        *,
        query: str,
        headers: Mapping[str, str],
        sha256: str,
        credentials: ReadOnlyCredentials,
    ) -> dict[str, str]:
        """Return ``headers`` with what the signature needs, and with it.

        ``path`` and ``query`` are as they are sent, ``query`` as `canonical_query` writes it; ``sha256``
        is the hex one of the body.
        """
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        given = {**headers, "X-Amz-Content-SHA256": sha256, "X-Amz-Date": now}
        if credentials.token:
            given["X-Amz-Security-Token"] = credentials.token
        pairs = sorted([(name.lower(), text) for name, text in given.items()])
        listed = ";".join([name for name, _ in pairs])
        lines = "".join([f"{name}:{' '.join(text.split())}\n" for name, text in pairs])
        request = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{sha256}"
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"{ALGORITHM}\n{now}\n{scope}\n{digest}"
        key = self._key(credentials.secret_key, now[:8])
        given["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"
        )
        return given

    def _key(self, secret: str | None, day: str) -> bytes:
        known, key = self._known  # read at once: another thread may sign for another secret
        if known != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._known = (secret, day), key
        return key


def canonical_query(query: Mapping[str, str]) -> str:
    """Return a query as it is signed and sent."""
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(text, safe="-_.~")) for name, text in query.items()
    )
    return "&".join(f"{name}={text}" for name, text in pairs)
