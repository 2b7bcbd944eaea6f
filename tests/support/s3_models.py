"""What botocore reads for each session, a tenth of a second of JSON and folders, read once for a process."""

from __future__ import annotations

import functools
from typing import Any

from botocore.loaders import JSONFileLoader, Loader

_READ, _LISTED = JSONFileLoader.load_file, Loader.list_available_services


def read_models_once() -> None:
    """Let all sessions of this process share the files that describe S3, which they do not change."""

    @functools.cache
    def read(path: str) -> Any:
        return _READ(JSONFileLoader(), path)

    @functools.cache
    def listed(places: tuple[str, ...], kind: str) -> list[str]:
        loader = Loader(include_default_search_paths=False)
        loader.search_paths.extend(places)
        found: list[str] = _LISTED(loader, kind)
        return found

    def load_file(self: JSONFileLoader, path: str) -> Any:
        return read(path)

    def list_available_services(self: Loader, type_name: str) -> list[str]:
        return listed(tuple(self.search_paths), type_name)

    JSONFileLoader.load_file = load_file  # type: ignore[method-assign]
    Loader.list_available_services = list_available_services  # type: ignore[method-assign]
