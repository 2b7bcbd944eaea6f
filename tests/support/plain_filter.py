"""What a query means, said once more without SQL: a filter of plain Python over everything a catalog holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imaging_db.model import Acquisition, Dataset, StoredFrame, UploadType
from imaging_db.model.expression import (
    And,
    Comparison,
    Edge,
    Expression,
    Glob,
    Mention,
    Missing,
    Not,
    Or,
    Period,
)
from imaging_db.model.fields import Field, Level
from imaging_db.model.selection import IndexRange


@dataclass
class Known:
    """One dataset with all that is known of it; ``annotations`` are those of today."""

    dataset: Dataset
    metadata: dict[str, Any]
    acquisition: Acquisition | None = None
    frames: Sequence[StoredFrame] = ()
    annotations: dict[str, str | None] = field(default_factory=dict)


def matching_frames(known: Iterable[Known], where: Expression) -> list[tuple[str, Any]]:
    """Serial and coordinates of the frames that fit, in their order."""
    return sorted(
        (one.dataset.serial, frame.coords)
        for one in known
        for frame in one.frames
        if fits(where, one, frame)
    )


def matching_datasets(known: Iterable[Known], where: Expression) -> list[str]:
    """Serials of the datasets with a frame that fits, and of those of files that fit."""
    found = []
    for one in known:
        of_files = one.dataset.upload_type is UploadType.FILE
        if any(fits(where, one, frame) for frame in ([None] if of_files else one.frames)):
            found.append(one.dataset.serial)
    return sorted(found)


def fits(where: Expression, known: Known, frame: StoredFrame | None) -> bool:
    match where:
        case And(parts):
            return all(fits(part, known, frame) for part in parts)
        case Or(parts):
            return any(fits(part, known, frame) for part in parts)
        case Not(part):
            return not fits(part, known, frame)
        case Mention(text):
            return mentions(text, known)
        case Missing(asked):
            return (
                not known.annotations
                if asked.name == "tag"
                else value_of(asked, known, frame) is None
            )
        case Comparison():
            return holds(where, known, frame)


def holds(asked: Comparison, known: Known, frame: StoredFrame | None) -> bool:
    if asked.field.name == "tag":
        return tagged(asked, known.annotations)
    if not any(isinstance(value, Edge) for value in asked.values):
        return compares(value_of(asked.field, known, frame), asked.operator, asked.values)
    if frame is None:
        return False
    axis = "czt".find(asked.field.name)  # p is the last, as -1 is
    some = any(at(value, axis, known, frame) for value in asked.values)
    return some == (asked.operator == "=")


def tagged(asked: Comparison, keys: Iterable[str]) -> bool:
    if asked.operator == "~":
        return any(str(asked.values[0]).lower() in key.lower() for key in keys)
    some = any(equal(key, value) for key in keys for value in asked.values)
    return some == (asked.operator == "=")


def at(value: Any, axis: int, known: Known, frame: StoredFrame) -> bool:
    if not isinstance(value, Edge):
        return frame.coords[axis] in value
    present = sorted({one.coords[axis] for one in known.frames})
    place = {"first": 0, "mid": (len(present) - 1) // 2, "last": -1}[value.value]
    return bool(frame.coords[axis] == present[place])


def compares(value: Any, sign: str, wanted: Sequence[Any]) -> bool:
    if value is None or not all(sort(value) == sort(one) for one in wanted):
        some = [one for one in wanted if value is not None and sort(value) == sort(one)]
        return sign == "=" and any(equal(value, one) for one in some)
    if sign in ("=", "!="):
        return any(equal(value, one) for one in wanted) == (sign == "=")
    (one,) = wanted
    if sign == "~":
        return str(one).lower() in value.lower()
    if isinstance(one, Period):
        return bool(
            {"<": value < one.start, "<=": value < one.end, ">": value >= one.end}.get(
                sign, value >= one.start
            )
        )
    if isinstance(value, str):
        value, one = value.encode(), one.encode()
    return bool({"<": value < one, "<=": value <= one, ">": value > one, ">=": value >= one}[sign])


def sort(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, (int, float, IndexRange)):
        return "number"
    return (
        "time"
        if isinstance(value, (datetime, Period))
        else type(value).__name__.replace("Glob", "str")
    )


def equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Glob):
        steps = re.findall(r"\\(.)|(.)", wanted.pattern, re.DOTALL)
        wild = {"*": ".*", "?": "."}
        pattern = "".join(re.escape(own) if own else wild.get(c, re.escape(c)) for own, c in steps)
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    if isinstance(wanted, Period):
        return bool(wanted.start <= value < wanted.end)
    return value in wanted if isinstance(wanted, IndexRange) else bool(value == wanted)


def mentions(text: str, known: Known) -> bool:
    dataset, acquisition = known.dataset, known.acquisition
    said = [dataset.serial, dataset.description, dataset.microscope]
    said += [*known.annotations, *known.annotations.values(), known.metadata.get("file_origin")]
    if acquisition is not None:
        said += [*acquisition.channel_names, *acquisition.position_names]
    return any(text.lower() in one.lower() for one in said if isinstance(one, str))


def value_of(asked: Field, known: Known, frame: StoredFrame | None) -> Any:
    if asked.name == "note":
        return known.annotations.get(str(asked.path[0]))
    if asked.path:
        return led_to(asked, known, frame)
    if asked.level is Level.DATASET:
        return of_dataset(asked.name, known.dataset)
    if frame is None or known.acquisition is None:
        return None
    if asked.level is Level.ACQUISITION:
        return of_acquisition(asked.name, known.acquisition)
    return of_frame(asked.name, frame)


def led_to(asked: Field, known: Known, frame: StoredFrame | None) -> Any:
    document, below = {
        "dataset": (known.metadata, None),
        "global": (known.acquisition.metadata if known.acquisition else {}, "IJMetadata"),
        "meta": (frame.metadata if frame else {}, "MicroManagerMetadata"),
    }[asked.name]
    found = follow(document, asked.path)
    if found is None and below is not None and asked.path[0] != below:
        found = follow(document, (below, *asked.path))
    return found


def follow(value: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        kind = dict if isinstance(part, str) else list
        if not isinstance(value, kind):
            return None
        try:
            value = value[part]  # type: ignore[index]
        except (KeyError, IndexError):
            return None
    return value


def of_dataset(name: str, dataset: Dataset) -> Any:
    return {
        "serial": dataset.serial,
        "project": dataset.serial.partition("-")[0],
        "acquired": dataset.acquired_at,
        "uploaded": dataset.published_at,
        "microscope": dataset.microscope,
        "description": dataset.description,
        "parent": dataset.parent_serial,
        "type": dataset.upload_type.value,
        "objects": dataset.nbr_objects,
    }[name]


def of_acquisition(name: str, found: Acquisition) -> Any:
    planned = found.nbr_expected
    return {
        "format": found.format,
        "channels": found.nbr_channels,
        "slices": found.nbr_slices,
        "timepoints": found.nbr_timepoints,
        "positions": found.nbr_positions,
        "pixel_size": found.pixel_size_x_um,
        "pixel_size_y": found.pixel_size_y_um,
        "z_step": found.z_step_um,
        "interval": found.time_interval_s,
        "expected": planned,
        "lacking": None if planned is None else planned - found.nbr_frames,
    }[name]


def of_frame(name: str, frame: StoredFrame) -> Any:
    c, z, t, p = frame.coords
    values = {
        **{"c": c, "z": z, "t": t, "p": p, "channel": frame.channel_name},
        **{"position": frame.position_name, "name": frame.file_name, "sha256": frame.sha256},
        **{"bytes": frame.object_size, "codec": frame.codec, "repeat": frame.is_repeat},
        **{"width": frame.width, "height": frame.height},
        **{"colors": frame.colors, "dtype": frame.dtype},
    }
    if name in values:
        return values[name]
    if frame.quality is None:
        return None
    found = frame.quality
    return {
        "min": found.minimum,
        "max": found.maximum,
        "mean": found.mean,
        "p1": found.p01,
        "p99": found.p99,
        "saturated": found.saturated,
        "focus": found.focus,
        "blank": found.minimum == found.maximum,
    }[name]
