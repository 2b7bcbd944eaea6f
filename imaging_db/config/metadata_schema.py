"""The lab's JSON Schema for frame metadata, compiled once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imaging_db.config.json_file import read_json_object
from imaging_db.config.schema_check import compile_schema
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject


class MetadataSchema:
    """A JSON Schema that every frame's metadata must satisfy."""

    def __init__(self, path: Path) -> None:
        """Read and compile the schema in ``path``; `ConfigError` where it is not one."""
        from jsonschema import exceptions, validators

        schema = read_json_object(path)
        self.path = path
        try:
            kind = validators.validator_for(schema, default=validators.Draft202012Validator)
            kind.check_schema(schema)
        except exceptions.SchemaError as error:
            where = "/".join(str(part) for part in error.absolute_path) or "top level"
            raise ConfigError(
                f"{path}: not a JSON Schema, at {where}: {error.message[:200]}"
            ) from error
        self._validator: Any = kind(schema)
        dialects = (
            validators.Draft4Validator,
            validators.Draft6Validator,
            validators.Draft7Validator,
            validators.Draft201909Validator,
            validators.Draft202012Validator,
        )
        plain = {key: value for key, value in schema.items() if key != "$schema"}
        self._surely_fits = compile_schema(plain) if kind in dialects else None

    def problem(self, metadata: JSONObject) -> tuple[str, str] | None:
        """Return (field, cause) of the first thing that is wrong with ``metadata``, None if nothing is.

        Raises
        ------
        ConfigError
            The schema refers to another that cannot be found; none is fetched from anywhere.
        """
        if self._surely_fits is not None and self._surely_fits(metadata):
            return None
        from jsonschema import exceptions
        from referencing.exceptions import Unresolvable

        try:
            error = exceptions.best_match(self._validator.iter_errors(metadata))
        except Unresolvable as unknown:
            raise ConfigError(f"{self.path}: cannot resolve {unknown.ref!r}") from unknown
        if error is None:
            return None
        field = ".".join(str(part) for part in error.absolute_path) or "metadata"
        return field, str(error.message)[:200]
