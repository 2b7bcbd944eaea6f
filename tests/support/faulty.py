"""A store or a catalog that fails once, as a faulty disk or a lost connection does."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any


class Faulty:
    """Hands every call on to the real thing, and raises ``error`` at the N-th of the named calls.

    With ``late`` the call is carried out first: its work is done, its answer is lost. ``failed`` names
    the call that failed, None where the run had fewer calls.
    """

    def __init__(
        self,
        real: object,
        calls: tuple[str, ...],
        fail_at: int,
        error: Callable[[], BaseException],
        *,
        late: bool = False,
    ) -> None:
        self._real = real
        self._calls = calls
        self._fail_at = fail_at
        self._error = error
        self._late = late
        self._number = count(1)
        self.failed: str | None = None

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if name not in self._calls:
            return found

        def call(*args: Any, **options: Any) -> Any:
            broken = next(self._number) == self._fail_at
            if broken and not self._late:
                self._fail(name)
            try:
                return found(*args, **options)
            finally:
                if broken and self._late:
                    self._fail(name)

        return call

    def _fail(self, name: str) -> None:
        self.failed = name
        raise self._error()
