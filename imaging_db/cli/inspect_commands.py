"""Commands that look: show, readers, stores, config show."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from imaging_db.cli import output
from imaging_db.cli.exit_codes import OK
from imaging_db.cli.options import (
    Commands,
    add_command,
    add_config,
    add_debug,
    add_json,
    add_login,
    open_db,
)
from imaging_db.model import UploadType

if TYPE_CHECKING:
    from imaging_db.api import DatasetView


_UPLOAD_KEYS = (
    "upload_type",
    "frames_format",
    "frames_codec",
    "microscope",
    "filename_parser",
    "meta_schema",
)
COMMANDS = ["imaging-db", "data_uploader", "data_downloader", "query_data"]


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    show = add_command(commands, "show", show_dataset, summary="what is known of a dataset")
    show.add_argument("id", metavar="DATASET", help="the dataset id")
    show.add_argument("--frames", action="store_true", help="list the frames or files, too")
    _add_common(show)
    add_command(commands, "readers", list_readers, summary="the formats that can be read")
    add_command(commands, "stores", list_stores, summary="where bytes can be kept")
    completion = add_command(
        commands,
        "completion",
        print_completion,
        summary="print what makes your shell complete options",
        description='For bash and zsh, put this in your start-up file: eval "$(imaging-db completion bash)"',
    )
    completion.add_argument(
        "shell", choices=("bash", "zsh", "fish", "powershell"), help="the shell that you use"
    )
    config = commands.add_parser("config", help="the settings in force", allow_abbrev=False)
    actions = config.add_subparsers(metavar="ACTION", required=True)
    summary = "each setting and where it comes from"
    _add_common(add_command(actions, "show", show_config, summary=summary))


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_login(parser)
    add_config(parser)
    add_json(parser)
    add_debug(parser)


def show_dataset(args: argparse.Namespace) -> int:
    """Print one dataset."""
    with open_db(args) as db:
        view = db.dataset(args.id)
        frames = view.dataset.upload_type is UploadType.FRAMES
        objects = (list(view.frames()) if frames else view.files) if args.frames else None
        if args.json:
            record = output.plain(view.dataset) | {"codec": view.codec}
            record |= {"tags": view.tags, "notes": view.notes}
            record["acquisition"] = output.plain(view.acquisition) if frames else None
            if objects is not None:
                record["objects"] = output.plain(objects)
            output.result_json(record)
            return OK
        facts = _dataset_facts(view) | (_acquisition_facts(view) if frames else {})
        told = [(key, value) for key, value in facts.items() if value]
        output.table([*told, *_said(view)])
        for item in objects or ():
            name = getattr(item, "file_name", getattr(item, "name", ""))
            output.result(f"{item.sha256 or '-' * 64}  {name}")
    return OK


def _dataset_facts(view: DatasetView) -> dict[str, object]:
    dataset = view.dataset
    return {
        "dataset": dataset.serial,
        "description": dataset.description,
        "microscope": dataset.microscope,
        "acquired": _time(dataset.acquired_at),
        "parent": dataset.parent_serial,
        "uploaded": _time(dataset.published_at),
        "store": dataset.storage and f"{dataset.storage}:{dataset.storage_access}",
        "folder": f"{dataset.storage_dir}/",
        dataset.upload_type.value: dataset.nbr_objects,
    }


def _acquisition_facts(view: DatasetView) -> dict[str, object]:
    found = view.acquisition
    size = f"{found.width} x {found.height}" if found.width else "of different sizes,"
    return {
        "format": found.format,
        "frame": f"{size} {found.dtype or ''}, {output.count(found.colors or 1, 'sample')} a pixel",
        "codec": view.codec,
        "channels": _numbered(view.channels),
        "slices": found.nbr_slices,
        "timepoints": found.nbr_timepoints,
        "positions": _numbered(view.positions),
        "pixel size": found.pixel_size_x_um and f"{found.pixel_size_x_um:g} um",
        "z step": found.z_step_um and f"{found.z_step_um:g} um",
        "planned": found.nbr_expected and f"{found.nbr_expected} frames",
    }


def _said(view: DatasetView) -> list[tuple[str, str]]:
    tags = [("tags", ", ".join(view.tags))] if view.tags else []
    return [*tags, *(("note", f"{key}={value}") for key, value in view.notes.items())]


def _time(time: datetime | None) -> str | None:
    return None if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _numbered(labels: Sequence[tuple[int, str | None]]) -> str:
    """Return ``0=Cy5, 1=DAPI``, or how many there are where none has a name."""
    if not any(name for _, name in labels):
        return str(len(labels))
    return ", ".join(f"{index}={name or '?'}" for index, name in labels)


def list_readers(args: argparse.Namespace) -> int:
    """Print the readers, built in and plugged in."""
    from imaging_db.readers import registry

    output.table((spec.name, spec.summary) for spec in registry.specs())
    return OK


def list_stores(args: argparse.Namespace) -> int:
    """Print the kinds of stores."""
    from imaging_db.stores.registry import names

    for name in names():
        output.result(name)
    return OK


def print_completion(args: argparse.Namespace) -> int:
    """Print the code that a shell needs to complete our commands."""
    from argcomplete.shell_integration import shellcode

    output.result_text(shellcode(COMMANDS, shell=args.shell))
    return OK


def show_config(args: argparse.Namespace) -> int:
    """Print the settings in force and where they come from; never a password."""
    with open_db(args) as db:
        settings = db.settings
    upload = settings.upload
    values = {
        "catalog": (settings.database.address, settings.origins.get("database", "")),
        "store": (
            f"{settings.store.storage}:{settings.store.access}",
            settings.origins.get("store", ""),
        ),
        "endpoint_url": (settings.store.endpoint_url, settings.origins.get("store", "")),
    }
    for key in _UPLOAD_KEYS:
        values[key] = (output.plain(getattr(upload, key)), settings.origins.get("upload", ""))
    if args.json:
        output.result_json({key: {"value": v, "origin": o} for key, (v, o) in values.items()})
        return OK
    output.table((key, value, f"[{origin}]") for key, (value, origin) in values.items() if value)
    return OK
