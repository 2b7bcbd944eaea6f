"""The nouns: frozen dataclasses and enums, without input or output."""

from imaging_db.model.acquisition import Acquisition
from imaging_db.model.annotation import Annotation, AnnotationChange, AnnotationEdit
from imaging_db.model.checksum import is_sha256, sha256_of_bytes, sha256_of_pixels
from imaging_db.model.dataset import (
    Claim,
    Dataset,
    DatasetDraft,
    DatasetId,
    DatasetStatus,
    UploadType,
)
from imaging_db.model.expression import Expression
from imaging_db.model.expression_parser import parse_expression
from imaging_db.model.file import SourceFile, StoredFile
from imaging_db.model.frame import FrameCoords, PageRef, SourceFrame, StoredFrame
from imaging_db.model.json_value import JSONObject, JSONValue, clean_json, clean_object
from imaging_db.model.quality import FrameQuality
from imaging_db.model.query import DatasetQuery
from imaging_db.model.selection import FrameSelection, IndexRange

__all__ = [
    "Acquisition",
    "Annotation",
    "AnnotationChange",
    "AnnotationEdit",
    "Claim",
    "Dataset",
    "DatasetDraft",
    "DatasetId",
    "DatasetQuery",
    "DatasetStatus",
    "Expression",
    "FrameCoords",
    "FrameQuality",
    "FrameSelection",
    "IndexRange",
    "JSONObject",
    "JSONValue",
    "PageRef",
    "SourceFile",
    "SourceFrame",
    "StoredFile",
    "StoredFrame",
    "UploadType",
    "clean_json",
    "clean_object",
    "is_sha256",
    "parse_expression",
    "sha256_of_bytes",
    "sha256_of_pixels",
]
