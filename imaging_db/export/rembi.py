"""What is known of a study: said by people, filled in from the catalog, and what is missing still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from imaging_db.export.plan import Axis, ExportPlan
from imaging_db.export.rembi_fields import LICENSES, SECTIONS, SHORTEST_TITLE
from imaging_db.export.rembi_file import Sections

FILE_LIST = "file_list.tsv"


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that the BioImage Archive asks for and the pack does not say; ``why`` tells what it is."""

    section: str
    field: str
    required: bool
    why: str

    def __str__(self) -> str:
        return f"{self.section}, {self.field}: {self.why}"


@dataclass(frozen=True, slots=True)
class Rembi:
    """The fields of a study by section. ``derived`` are those that the catalog filled in, not a person."""

    sections: Sections
    derived: tuple[tuple[str, str], ...] = field(default=())

    def get(self, section: str, name: str) -> Any:
        """Return what a field says, an empty text where it says nothing."""
        return self.sections.get(section, {}).get(name, "")

    def as_json(self) -> dict[str, Any]:
        """Return all of it, the study's component with its file list and what belongs to it."""
        found: dict[str, Any] = {name: dict(fields) for name, fields in self.sections.items()}
        component = found.setdefault("Study Component", {})
        component["File List"] = FILE_LIST
        component["Associations"] = {
            section: self.get(section, "Title")
            for section in ("Biosample", "Specimen", "Image acquisition")
        }
        return found


def rembi_of(said: Sections, plans: Sequence[ExportPlan]) -> Rembi:
    """Return what people said, with the catalog's knowledge where they said nothing."""
    sections = {section: dict(said.get(section, {})) for section in SECTIONS}
    derived = []
    for section, name, value in _known(plans):
        if value and not sections[section].get(name):
            sections[section][name] = value
            derived.append((section, name))
    channels = sections["Signal channels"].setdefault("Channels", [])
    told = {row.get("Channel") for row in channels}
    channels += [{"Channel": name} for name in _channel_names(plans) if name not in told]
    return Rembi(sections, tuple(derived))


def _known(plans: Sequence[ExportPlan]) -> Iterator[tuple[str, str, str]]:
    datasets = [plan.dataset for plan in plans]
    about = _distinct(dataset.description for dataset in datasets)
    scopes = _distinct(dataset.microscope for dataset in datasets)
    yield "Study Component", "Name", "Images" if len(plans) > 1 else plans[0].serial
    yield "Study Component", "Description", "; ".join(about)
    yield "Image acquisition", "Imaging instrument", "; ".join(scopes)
    yield "Image acquisition", "Image acquisition parameters", "; ".join(map(parameters, plans))
    for section in ("Biosample", "Specimen", "Image acquisition"):
        yield section, "Title", f"{section} 1"


def parameters(plan: ExportPlan) -> str:
    """Return in words how a dataset was taken, as far as the catalog knows."""
    names = [name for name in plan.channels.names if name]
    told = [f"{plan.width} x {plan.height} pixels"] if plan.width and plan.height else []
    if plan.pixel_size_x_um:
        told.append(f"pixel size {plan.pixel_size_x_um:g} µm")
    told.append(_count(plan.channels, "channel") + (f" ({', '.join(names)})" if names else ""))
    step = f", {plan.z_step_um:g} µm apart" if plan.z_step_um else ""
    told.append(f"{_count(plan.slices, 'slice')}{step}")
    interval = f", every {plan.time_interval_s:g} s" if plan.time_interval_s else ""
    told.append(f"{_count(plan.timepoints, 'timepoint')}{interval}")
    told.append(_count(plan.positions, "position"))
    return f"{plan.serial}: {', '.join(told)}"


def _count(axis: Axis, noun: str) -> str:
    return f"{len(axis)} {noun}{'' if len(axis) == 1 else 's'}"


def missing_of(rembi: Rembi) -> list[Missing]:
    """Return what is missing for the BioImage Archive, what it requires first."""
    found = [*_absent(rembi), *_unfit(rembi), *_unlabelled(rembi)]
    return sorted(found, key=lambda item: not item.required)


def _absent(rembi: Rembi) -> Iterator[Missing]:
    for section, fields in SECTIONS.items():
        for field_ in fields:
            value = rembi.get(section, field_.name)
            if not value:
                yield Missing(section, field_.name, field_.required, field_.about)
            for number, row in enumerate(value if field_.columns else (), 1):
                for column in field_.columns:
                    if column.required and not row.get(column.name):
                        name = f"{field_.name} {number}, {column.name}"
                        yield Missing(section, name, True, column.about)


def _unfit(rembi: Rembi) -> Iterator[Missing]:
    title = rembi.get("Study", "Title")
    if title and len(title) < SHORTEST_TITLE:
        why = f"it has {len(title)} characters, the archive wants {SHORTEST_TITLE} or more"
        yield Missing("Study", "Title", True, why)
    license_ = rembi.get("Study", "License")
    if license_ and license_ not in LICENSES:
        why = f"{license_!r} is none that the archive takes: {' or '.join(LICENSES)}"
        yield Missing("Study", "License", True, why)
    released = rembi.get("Study", "Release Date")
    if released and not _is_date(released):
        yield Missing("Study", "Release Date", True, f"{released!r} is not a date YYYY-MM-DD")


def _unlabelled(rembi: Rembi) -> Iterator[Missing]:
    for row in rembi.get("Signal channels", "Channels") or ():
        for name in ("Biological entity", "Content"):
            if not row.get(name):
                why = "what is labelled" if name == "Biological entity" else "with what"
                yield Missing("Signal channels", f"{row.get('Channel', '?')}, {name}", False, why)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == len("2026-01-01")


def _channel_names(plans: Sequence[ExportPlan]) -> list[str]:
    return _distinct(name for plan in plans for name in plan.channels.names)


def _distinct(texts: Any) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
