"""A frame as values: any field that a query may name, read from what the catalog gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from imaging_db.errors import NothingSelected
from imaging_db.model import Acquisition, Annotation, Dataset, JSONObject, StoredFrame
from imaging_db.model.fields import Field, Kind, Level

if TYPE_CHECKING:
    from imaging_db.catalog import Catalog

_ATTRIBUTES = {
    "serial": "serial",
    "acquired": "acquired_at",
    "uploaded": "published_at",
    "microscope": "microscope",
    "description": "description",
    "parent": "parent_serial",
    "type": "upload_type.value",
    "objects": "nbr_objects",
    "format": "format",
    "channels": "nbr_channels",
    "slices": "nbr_slices",
    "timepoints": "nbr_timepoints",
    "positions": "nbr_positions",
    "pixel_size": "pixel_size_x_um",
    "pixel_size_y": "pixel_size_y_um",
    "z_step": "z_step_um",
    "interval": "time_interval_s",
    "expected": "nbr_expected",
    "channel": "channel_name",
    "position": "position_name",
    "c": "coords.channel",
    "z": "coords.slice",
    "t": "coords.timepoint",
    "p": "coords.position",
    "width": "width",
    "height": "height",
    "colors": "colors",
    "dtype": "dtype",
    "name": "file_name",
    "sha256": "sha256",
    "bytes": "object_size",
    "codec": "codec",
    "repeat": "is_repeat",
    "min": "minimum",
    "max": "maximum",
    "mean": "mean",
    "p1": "p01",
    "p99": "p99",
    "saturated": "saturated",
    "focus": "focus",
    "blank": "blank",
}
_BELOW = {"meta": "MicroManagerMetadata", "global": "IJMetadata"}


@dataclass
class DatasetFacts:
    """What is known of one dataset; each is asked for once, and only where a column needs it."""

    catalog: Catalog
    serial: str

    @cached_property
    def dataset(self) -> Dataset:
        """Return its row."""
        return self.catalog.dataset(self.serial)

    @cached_property
    def acquisition(self) -> Acquisition | None:
        """Return what the microscope did, None for files."""
        try:
            return self.catalog.acquisition(self.serial)
        except NothingSelected:
            return None

    @cached_property
    def metadata(self) -> JSONObject:
        """Return what was said of it as a whole."""
        return self.catalog.metadata(self.serial)

    @cached_property
    def annotations(self) -> list[Annotation]:
        """Return its tags and notes."""
        return self.catalog.annotations.of(self.serial)


def value_of(field: Field, frame: StoredFrame, facts: DatasetFacts) -> Any:
    """Return what a frame has in a field, None where it is not known; a tag gives all of them."""
    if field.kind is Kind.TAG:
        return [one.key for one in facts.annotations]
    if field.kind is Kind.NOTE:
        values = {one.key: one.value for one in facts.annotations}
        return values.get(str(field.path[0]))
    if field.kind is Kind.JSON:
        return _led_to(field, frame, facts)
    if field.name == "project":
        return facts.serial.partition("-")[0]
    if field.name == "lacking":
        return _lacking(facts.acquisition)
    owner = _owner(field, frame, facts)
    return None if owner is None else attrgetter(_ATTRIBUTES[field.name])(owner)


def _owner(field: Field, frame: StoredFrame, facts: DatasetFacts) -> Any:
    """Return the object that has a field; None where there is none."""
    if field.name == "serial":
        return facts
    if field.level is Level.QUALITY and field.name != "repeat":
        return frame.quality
    if field.level.of_frames:
        return frame
    return facts.dataset if field.level is Level.DATASET else facts.acquisition


def _lacking(acquisition: Acquisition | None) -> int | None:
    if acquisition is None or acquisition.nbr_expected is None:
        return None
    return acquisition.nbr_expected - acquisition.nbr_frames


def _led_to(field: Field, frame: StoredFrame, facts: DatasetFacts) -> Any:
    document: Any = frame.metadata
    if field.name == "dataset":
        document = facts.metadata
    elif field.name == "global":
        document = facts.acquisition.metadata if facts.acquisition else {}
    found = _follow(document, field.path)
    below = _BELOW.get(field.name)
    if found is None and below is not None and field.path[0] != below:
        found = _follow(document, (below, *field.path))
    return found


def _follow(value: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        if isinstance(part, str):
            value = value.get(part) if isinstance(value, dict) else None
        elif isinstance(value, list) and part < len(value):
            value = value[part]
        else:
            return None
    return value
