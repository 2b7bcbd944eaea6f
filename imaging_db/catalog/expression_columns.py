"""Where the fields of a query lie in the tables."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, Dialect, case, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from imaging_db.catalog.tables import AcquisitionRow, DatasetRow, FrameRow
from imaging_db.catalog.types import CleanText

_Parent = aliased(DatasetRow)


class LeadingPart(FunctionElement[str]):
    """The part of a text before its first dash; all of it where there is none."""

    name = "leading_part"
    type = CleanText()
    inherit_cache = True


@compiles(LeadingPart, "postgresql")
def _leading_postgresql(element: LeadingPart, compiler: SQLCompiler, **options: Any) -> str:
    return f"split_part({compiler.process(element.clauses, **options)}, '-', 1)"


@compiles(LeadingPart, "sqlite")
def _leading_sqlite(element: LeadingPart, compiler: SQLCompiler, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"substr({text}, 1, instr({text} || '-', '-') - 1)"


INDICES: dict[str, InstrumentedAttribute[int]] = {
    "c": FrameRow.channel_idx,
    "z": FrameRow.slice_idx,
    "t": FrameRow.time_idx,
    "p": FrameRow.pos_idx,
}

INHERITED = {"width", "height", "colors", "dtype"}
"""Fields of frames that are NULL where the whole acquisition has the same."""

COLUMNS: dict[str, ColumnElement[Any]] = {
    "serial": DatasetRow.dataset_serial.expression,
    "project": LeadingPart(DatasetRow.dataset_serial),
    "acquired": DatasetRow.date_time.expression,
    "uploaded": DatasetRow.published_at.expression,
    "microscope": DatasetRow.microscope.expression,
    "description": DatasetRow.description.expression,
    "parent": select(_Parent.dataset_serial)
    .where(_Parent.id == DatasetRow.parent_id)
    .correlate(DatasetRow)
    .scalar_subquery(),
    "type": case((DatasetRow.frames, literal("frames")), else_=literal("file")),
    "objects": DatasetRow.nbr_objects.expression,
    "format": AcquisitionRow.format.expression,
    "channels": AcquisitionRow.nbr_channels.expression,
    "slices": AcquisitionRow.nbr_slices.expression,
    "timepoints": AcquisitionRow.nbr_timepoints.expression,
    "positions": AcquisitionRow.nbr_positions.expression,
    "pixel_size": AcquisitionRow.pixel_size_x_um.expression,
    "pixel_size_y": AcquisitionRow.pixel_size_y_um.expression,
    "z_step": AcquisitionRow.z_step_um.expression,
    "interval": AcquisitionRow.time_interval_s.expression,
    "expected": AcquisitionRow.nbr_expected.expression,
    "lacking": AcquisitionRow.nbr_expected - AcquisitionRow.nbr_frames,
    "channel": FrameRow.channel_name.expression,
    "position": FrameRow.position_name.expression,
    **{name: column.expression for name, column in INDICES.items()},
    "width": func.coalesce(FrameRow.width, AcquisitionRow.im_width),
    "height": func.coalesce(FrameRow.height, AcquisitionRow.im_height),
    "colors": func.coalesce(FrameRow.colors, AcquisitionRow.im_colors),
    "dtype": func.coalesce(FrameRow.dtype, AcquisitionRow.dtype),
    "name": FrameRow.file_name.expression,
    "sha256": FrameRow.sha256.expression,
    "bytes": FrameRow.object_size.expression,
    "codec": FrameRow.codec.expression,
    "min": FrameRow.intensity_min.expression,
    "max": FrameRow.intensity_max.expression,
    "mean": FrameRow.intensity_mean.expression,
    "p1": FrameRow.intensity_p01.expression,
    "p99": FrameRow.intensity_p99.expression,
    "saturated": FrameRow.saturated_share.expression,
    "focus": FrameRow.focus.expression,
    "blank": FrameRow.intensity_min == FrameRow.intensity_max,
    "repeat": FrameRow.is_repeat.expression,
}
"""What each field of `imaging_db.model.fields` is; those with a path, tags and indices apart."""


def globbed(column: ColumnElement[Any], pattern: str, dialect: Dialect) -> ColumnElement[bool]:
    """Return the condition that all of a text fits a pattern, with regard to case."""
    sqlite = dialect.name == "sqlite"
    translate = _as_glob if sqlite else _as_like
    spelled = re.sub(r"\\(.)|(.)", lambda one: translate(one[1], one[2]), pattern, flags=re.DOTALL)
    bound = literal(spelled, CleanText())
    if sqlite:
        return column.op("GLOB", is_comparison=True)(bound)
    return column.like(bound, escape="\\")


def _as_glob(escaped: str | None, char: str | None) -> str:
    """Return one character of a pattern for GLOB, in which brackets make the others themselves."""
    if escaped is None:
        return "[[]" if char == "[" else char or ""
    return f"[{escaped}]" if escaped in "*?" else escaped


def _as_like(escaped: str | None, char: str | None) -> str:
    """Return one character of a pattern for LIKE, in which a backslash makes the others themselves."""
    if escaped is None and char in ("*", "?"):
        return "%" if char == "*" else "_"
    plain = escaped or char or ""
    return f"\\{plain}" if plain in "%_\\" else plain
