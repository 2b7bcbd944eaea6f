"""The files of a pack beside its images: the list of its images, its checksums, what is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from imaging_db.export.plan import ExportPlan
from imaging_db.export.rembi import FILE_LIST, Missing, Rembi
from imaging_db.export.ro_crate import Part
from imaging_db.transfer.pool import pooled
from imaging_db.transfer.store_object import sha256_of_file

MANIFEST = "manifest-sha256.txt"
MISSING = "MISSING.md"

_ZIP = f"""\
- The BioImage Archive takes each OME-Zarr as one file. Put each folder into a zip without compression
  (`cd images; zip -0 -r NAME.ome.zarr.zip NAME.ome.zarr`), and add `.zip` to its line in {FILE_LIST}."""


def file_list(images: Iterable[Part]) -> str:
    """Return the BioImage Archive's file list: ``Files``, then what distinguishes the images, tab-separated.

    A column that says the same of all images is left out, but for the dataset.
    """
    rows = [{"Files": image.path, **_attributes(image.plan)} for image in images]
    names = [
        name
        for name in rows[0]
        if name in ("Files", "Dataset") or len({row[name] for row in rows}) > 1
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row[name] for name in names] for row in rows)
    return text.getvalue()


def _attributes(plan: ExportPlan) -> dict[str, str]:
    dataset = plan.dataset
    acquired = dataset.acquired_at
    names = [name or str(index) for index, name in _named(plan)]
    size = plan.pixel_size_x_um
    step = plan.z_step_um
    found: dict[str, Any] = {
        "Dataset": dataset.serial,
        "Description": dataset.description,
        "Microscope": dataset.microscope,
        "Acquired": acquired.isoformat() if acquired else None,
        "Channels": ", ".join(names),
        "Slices": len(plan.slices),
        "Timepoints": len(plan.timepoints),
        "Positions": len(plan.positions),
        "Pixel size (µm)": None if size is None else f"{size:.6g}",
        "Slice distance (µm)": None if step is None else f"{step:.6g}",
        "Pixel type": plan.dtype,
    }
    return {name: _one_line(value) for name, value in found.items()}


def _named(plan: ExportPlan) -> Iterator[tuple[int, str | None]]:
    yield from zip(plan.channels.indices, plan.channels.names, strict=True)


def _one_line(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def manifest(folder: Path, *, workers: int) -> str:
    """Return the SHA-256 of every file below a folder but the manifest itself, as ``sha256sum -c`` reads it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]

    def line(path: Path) -> tuple[str, str]:
        return path.relative_to(folder).as_posix(), sha256_of_file(path)

    with closing(pooled(line, files, workers=workers)) as found:
        lines = sorted(found)
    return "".join(f"{sha256}  {path}\n" for path, sha256 in lines)


def missing_text(rembi: Rembi, missing: Sequence[Missing], *, zarr: bool) -> str:
    """Return MISSING.md: what the archive still wants to know, and what should be looked at."""
    required = [item for item in missing if item.required]
    recommended = [item for item in missing if not item.required]
    derived = [f"{s}, {f}: {_one_line(rembi.get(s, f))}" for s, f in rembi.derived]
    before = [_ZIP] if zarr else []
    before.append("- Look through the texts for names of people that should not be published.")
    parts = [
        "# What is missing for the BioImage Archive",
        _listed("Required", required, "Nothing."),
        _listed("Recommended", recommended, "Nothing."),
        _listed("Filled in from the catalog: please check", derived, "Nothing."),
        "## Before you upload\n\n" + "\n".join(before),
    ]
    return "\n\n".join(parts) + "\n"


def _listed(title: str, items: Sequence[object], nothing: str) -> str:
    lines = [f"- {item}" for item in items] or [nothing]
    return f"## {title}\n\n" + "\n".join(lines)
