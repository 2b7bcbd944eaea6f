"""A pack to publish: datasets as OME-TIFF or OME-Zarr, with what an archive asks to know of them.

from imaging_db.export.publish import publish

with ImagingDB.connect() as db:
    publish(db, ["ISP-2018-06-08-15-45-00-0001"], "pack", metadata="study.json")
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging_db import __version__
from imaging_db.errors import ConfigError, Conflict, ImagingDBError, Interrupted, UsageError
from imaging_db.export import pack_files, ro_crate
from imaging_db.export.exporter import export, open_target
from imaging_db.export.part import Part, written_to
from imaging_db.export.plan import ExportPlan, make_plan
from imaging_db.export.rembi import FILE_LIST, Missing, Rembi, missing_of, rembi_of
from imaging_db.export.rembi_file import Sections, read_rembi, to_csv
from imaging_db.export.report import ExportOptions, ExportReport, Written
from imaging_db.model import UploadType
from imaging_db.transfer.cores import usable_cores
from imaging_db.transfer.report import Progress, Silent

if TYPE_CHECKING:
    from imaging_db.api import ImagingDB

FORMATS = ("ome-tiff", "ome-zarr")
IMAGES = "images"
_PACK = "pack.json"
_REMBI = "rembi.json"
_REMBI_CSV = "rembi.csv"


@dataclass(frozen=True, slots=True)
class PublishReport:
    """One pack: where it lies, an export for each dataset, and what is missing for the BioImage Archive."""

    path: Path
    outcome: Written
    images: tuple[ExportReport, ...]
    missing: tuple[Missing, ...]
    nbr_files: int


def publish(
    db: ImagingDB,
    serials: Sequence[str],
    dest: Path | str,
    *,
    to: str = "ome-tiff",
    metadata: Path | str | None = None,
    strict: bool = False,
    fill: float | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> PublishReport:
    """Return what was put into the folder ``dest``, which is there once all of it is complete.

    A pack of the same datasets that is there already is brought up to date: its images are compared, and its
    texts follow ``metadata``.

    Raises
    ------
    ConfigError
        The metadata file is wrong; or ``strict`` and something that the archive requires is missing.
        Nothing was written.
    Conflict
        ``dest`` is something else.
    Others as `export`.
    """
    plans = _plans(db, serials, to, ExportOptions(fill))
    rembi = rembi_of({} if metadata is None else read_rembi(Path(metadata)), plans)
    missing = missing_of(rembi)
    if strict and (required := [f"missing: {item}" for item in missing if item.required]):
        raise ConfigError(required, hint="say it in the file that --metadata names")
    pack = _Pack(plans, to, rembi, missing, _place(dest))
    pack.require_ours()
    part = Part(pack.path.parent, pack.path.name, pack.identity)
    try:
        with part.locked():
            with pack.adopted(part.content):
                for plan in plans:
                    report = export(
                        db,
                        plan.serial,
                        part.content / IMAGES,
                        to=to,
                        fill=fill,
                        overwrite=True,
                        workers=workers,
                        progress=progress or Silent(),
                    )
                    pack.images.append(report)
            pack.write_texts(part.content)
            part.finish()
    except KeyboardInterrupt as stop:
        raise Interrupted(
            f"interrupted: {pack.path} is not complete and has no name yet; rerun to continue",
            signal_number=getattr(stop, "signal_number", 2),
        ) from stop
    finally:
        if pack.given_back:
            part.tidy()
    return pack.report()


def known_metadata(db: ImagingDB, serials: Sequence[str]) -> Sections:
    """Return what the catalog knows of datasets, to be completed by a person."""
    if not serials:
        return {}
    return rembi_of({}, _plans(db, serials, None, ExportOptions())).sections


def _plans(
    db: ImagingDB, serials: Sequence[str], to: str | None, options: ExportOptions
) -> list[ExportPlan]:
    """Return what will be exported, after the format was asked whether it holds it."""
    plans = []
    for serial in dict.fromkeys(serials):
        dataset = db.catalog.dataset(serial)
        if dataset.upload_type is UploadType.FILE:
            raise UsageError(
                f"{serial} holds files, not frames: they cannot become images of a pack",
                hint="publish its files as they are: imaging-db export --to files",
            )
        plan = make_plan(db.catalog, dataset)
        if to is not None:
            open_target(to, options).check(plan)
        plans.append(plan)
    if not plans:
        raise UsageError("there is no dataset to publish", hint="name one or more")
    return plans


def _place(dest: Path | str) -> Path:
    path = Path(dest).resolve()
    if not path.name:
        raise UsageError(f"--dest {dest} cannot be a pack", hint="name a folder that is not there")
    return path


@dataclass
class _Pack:
    """One pack while it is made."""

    plans: Sequence[ExportPlan]
    to: str
    rembi: Rembi
    missing: Sequence[Missing]
    path: Path
    images: list[ExportReport] = field(default_factory=list)
    changed: bool = False
    given_back: bool = False

    @property
    def identity(self) -> dict[str, object]:
        """Return what makes two packs the same but for their texts."""
        datasets = {plan.serial: plan.fingerprint for plan in self.plans}
        return {"to": f"publish {self.to}", "datasets": datasets}

    def require_ours(self) -> None:
        """Let pass a place where nothing is, or this pack, finished or not; raises `Conflict` for others.

        A finished pack that a killed run was bringing up to date may hold what somebody put there.
        """
        if os.path.lexists(self.path) and not self._is_ours():
            raise Conflict(
                f"{self.path} exists already, and is no pack of these datasets",
                hint="name another folder with --dest",
            )
        part = self.path.with_name(f".{self.path.name}.part")
        found = _read_json(part / "content" / _PACK)
        if isinstance(found, dict) and found.get("identity") != self.identity:
            raise Conflict(
                f"{part} is a pack of other datasets that a stopped run was bringing up to date",
                hint="run that again, or name another folder with --dest, or delete it",
            )

    @contextmanager
    def adopted(self, content: Path) -> Iterator[None]:
        """Take the pack that is there under its temporary name; where that fails, it gets its name back."""
        if not os.path.lexists(self.path):
            self.changed = True
            yield
            return
        self.require_ours()
        with written_to(self.path):
            if content.exists():
                raise Conflict(
                    f"{self.path} and an unfinished pack beside it exist",
                    hint=f"delete {content.parent}",
                )
            self.path.rename(content)
        try:
            yield
        except ImagingDBError:
            for begun in content.joinpath(IMAGES).glob(".*.part"):
                shutil.rmtree(begun, ignore_errors=True)
            content.rename(self.path)
            self.given_back = True
            raise

    def _is_ours(self) -> bool:
        if not self.path.is_symlink() and self.path.is_dir():
            found = _read_json(self.path / _PACK)
            return isinstance(found, dict) and found.get("identity") == self.identity
        return False

    def write_texts(self, folder: Path) -> None:
        """Write all but the images, the manifest last."""
        created = self._created(folder)
        images = [self._image(plan, folder) for plan in self.plans]
        rembi = self.rembi.as_json()
        zarr = self.to == "ome-zarr"
        others = (_REMBI, _REMBI_CSV, FILE_LIST)
        published = self.rembi.get("Study", "Release Date") or created
        crate = ro_crate.ro_crate(self.rembi, images, others, published=published)
        pack = {"imaging_db": __version__, "created": created, "identity": self.identity}
        for name, text in (
            (_REMBI, _as_json(rembi)),
            (_REMBI_CSV, to_csv(self.rembi.sections)),
            (FILE_LIST, pack_files.file_list(images)),
            (pack_files.MISSING, pack_files.missing_text(self.rembi, self.missing, zarr=zarr)),
            (ro_crate.NAME, _as_json(crate)),
            (_PACK, _as_json(pack)),
        ):
            self._write(folder / name, text)
        manifest = pack_files.manifest(folder, workers=usable_cores())
        self._write(folder / pack_files.MANIFEST, manifest)

    def _created(self, folder: Path) -> str:
        found = _read_json(folder / _PACK)
        told = found.get("created") if isinstance(found, dict) else None
        return told if isinstance(told, str) else datetime.now(UTC).date().isoformat()

    def _image(self, plan: ExportPlan, folder: Path) -> ro_crate.Part:
        name = open_target(self.to, ExportOptions()).path(plan, folder).name
        path = Path(IMAGES, name)
        there = folder / path
        return ro_crate.Part(
            plan, path.as_posix(), there.stat().st_size if there.is_file() else None
        )

    def _write(self, path: Path, text: str) -> None:
        data = text.encode()
        with written_to(path):
            if path.is_file() and path.read_bytes() == data:
                return
            path.write_bytes(data)
        self.changed = True

    def report(self) -> PublishReport:
        """Return what came of it."""
        changed = self.changed or any(i.outcome is Written.EXPORTED for i in self.images)
        outcome = Written.EXPORTED if changed else Written.ALREADY_THERE
        placed = tuple(_placed(image, self.path) for image in self.images)
        nbr_files = sum(path.is_file() for path in self.path.rglob("*"))
        return PublishReport(self.path, outcome, placed, tuple(self.missing), nbr_files)


def _placed(report: ExportReport, pack: Path) -> ExportReport:
    return replace(report, path=pack / IMAGES / report.path.name)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
