"""The command template: write what an upload and a JSON Schema ask for, to be filled in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import Commands, add_command, add_config, add_debug, add_json
from imaging_db.errors import UsageError

_TOLD = 10


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "template",
        write_templates,
        summary="write the CSV and the metadata that an upload asks for, to be filled in",
        examples="  imaging-db template\n  imaging-db template --schema metadata_schema.json --out forms",
    )
    parser.add_argument(
        "--schema",
        metavar="FILE",
        help="the JSON Schema that metadata must satisfy; without it meta_schema of the config",
    )
    parser.add_argument("--out", metavar="FOLDER", default=".", help="where to; without it here")
    add_config(parser)
    add_json(parser)
    add_debug(parser)


def write_templates(args: argparse.Namespace) -> int:
    """Write the templates, or none where one of them is there already, and tell what they are for."""
    from imaging_db.config import load_settings, templates
    from imaging_db.config.paths import expanded
    from imaging_db.transfer.whole_file import require_free, write_whole

    upload = load_settings(config=args.config).upload
    schema = expanded(args.schema) if args.schema else upload.meta_schema
    contents = {templates.UPLOAD_NAME: templates.upload_csv(upload.upload_type)}
    notes: Sequence[str] = ()
    if schema is not None:
        found = templates.metadata_template(schema)
        contents[templates.FIELDS_NAME] = found.fields_csv
        contents[templates.DOCUMENT_NAME] = found.document_json
        notes = found.notes
    folder = _made(expanded(args.out))
    for name, data in contents.items():
        require_free(folder / name, data)
    for name, data in contents.items():
        write_whole(folder / name, data)
    if args.json:
        output.result_json({"files": [str(folder / name) for name in contents], "notes": notes})
        return OK
    columns = templates.upload_columns(upload.upload_type)
    output.result(f"{folder / templates.UPLOAD_NAME}: a row for each dataset")
    output.table((f"  {name}", templates.MEANINGS[name]) for name in columns)
    if schema is not None:
        output.result(f"{folder / templates.FIELDS_NAME}: the fields that {schema.name} asks for")
        output.result(f"{folder / templates.DOCUMENT_NAME}: metadata of a frame that has them")
    _tell(notes)
    return OK


def _tell(notes: Sequence[str]) -> None:
    for text in notes[:_TOLD]:
        output.note(text)
    if len(notes) > _TOLD:
        output.note(f"{len(notes) - _TOLD} more, all in the column remark")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--out {folder}: {error.strerror}", hint="name a folder that you may write to"
        ) from error
    return folder
