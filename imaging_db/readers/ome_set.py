"""The files that belong together as one OME-TIFF: a single file, a master with others, a companion.

Source: the OME-TIFF specification, "Distributing multi-file data": each file has a UUID, TiffData and
BinaryOnly name UUID and file. Files may have been renamed, so a UUID counts more than a name; only files
of the same folder are looked at, whatever path the metadata name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath
from typing import TypeAlias

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers.base import ReadLimits
from imaging_db.readers.ome_peek import peek_tiff, peek_xml, tiff_files_in, xml_files_in
from imaging_db.readers.ome_xml import OmeDocument, parse_ome_xml, root_uuid
from imaging_db.readers.tiff_bytes import FileBytes
from imaging_db.readers.tiff_directory import DESCRIPTION, TiffStructure, text_of

Reference: TypeAlias = "tuple[str | None, str | None]"
_NEITHER = "has neither OME-XML nor Micro-Manager tags"
_NEITHER_HINT = "try 'tif_id' for one ImageJ file, 'tif_folder' for a folder of TIFF files"


@dataclass(frozen=True, slots=True)
class OmeSet:
    """A document, the file that holds it, and the file behind each (UUID, name) of its TiffData."""

    document: OmeDocument
    master: Path
    files: dict[Reference, Path]
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The TIFF files of the set, each once, in the order of the document."""
        return tuple(dict.fromkeys(self.files.values()))


class OmeFolder:
    """The folder that a set lies in: its files by name and by UUID."""

    def __init__(self, folder: Path, limits: ReadLimits) -> None:
        self._folder = folder
        self._limits = limits

    def document(self, path: Path) -> OmeDocument | None:
        """Return the OME-XML of a TIFF or companion file, None where a TIFF file has none."""
        if peek_xml(path) is not None:
            return parse_ome_xml(self._text_of_companion(path), path)
        text = self._description(path)
        return None if text is None else parse_ome_xml(text, path)

    def named(self, name: str | None) -> Path | None:
        """Return the file with the base name of ``name``, by case where two differ only in that."""
        base = PureWindowsPath(name or "").name  # splits at both kinds of slash
        return self._by_name.get(base) or self._by_folded_name.get(base.casefold())

    def uuid_of(self, path: Path) -> str | None:
        """Return the UUID that a file says it has."""
        xml = peek_xml(path)
        if xml is not None:
            return root_uuid(xml)
        peek = peek_tiff(path)
        return root_uuid(peek.head) if peek is not None and peek.is_ome else None

    def with_uuid(self, uuid: str | None) -> Path | None:
        """Return the only file of that UUID, None where there is none or several."""
        found = self._by_uuid.get(uuid or "", ())
        return found[0] if len(found) == 1 else None

    @cached_property
    def _files(self) -> list[Path]:
        return [*tiff_files_in(self._folder), *xml_files_in(self._folder)]

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {path.name: path for path in self._files}

    @cached_property
    def _by_folded_name(self) -> dict[str, Path]:
        return {path.name.casefold(): path for path in self._files}

    @cached_property
    def _by_uuid(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in self._files:
            uuid = self.uuid_of(path)
            if uuid is not None:
                found.setdefault(uuid, []).append(path)
        return found

    def _text_of_companion(self, path: Path) -> str:
        source = FileBytes(path)
        try:
            if source.size > self._limits.max_metadata_bytes:
                cause = f"is larger than {self._limits.max_metadata_bytes} bytes"
                raise CorruptSource(path, cause, hint="raise max_metadata_bytes")
            return text_of(source.read(0, source.size))
        finally:
            source.close()

    def _description(self, path: Path) -> str | None:
        source = FileBytes(path)
        try:
            limit = self._limits.max_metadata_bytes
            structure = TiffStructure(source, max_metadata_bytes=limit)
            directory = structure.directory(structure.first_offset, page=0)
            field = directory.fields.get(DESCRIPTION)
            text = "" if field is None else text_of(structure.raw(field, page=0))
        finally:
            source.close()
        peek = peek_tiff(path)
        return text if peek is not None and peek.is_ome else None


def find_set(paths: Sequence[Path], folder: OmeFolder) -> OmeSet:
    """Return the one set that ``paths`` belong to, with all its files.

    Raises
    ------
    CorruptSource
        A file of the set, or its master, is not in the folder.
    UnsupportedFormat
        The paths belong to several sets, or have no OME-XML.
    """
    found: OmeSet | None = None
    for path in paths:
        if found is not None and path in (found.master, *found.paths):
            continue
        document, master = _master_of(path, folder)
        if len(paths) > 1 and peek_xml(master) is not None and not any(document.tiff_data):
            continue  # an export beside the files, not their companion
        if found is not None:
            cause = f"holds several sets: that of {found.master.name} and that of {master.name}"
            hint = "give each set a folder of its own, or name one of its files"
            raise UnsupportedFormat(path.parent, cause, hint=hint)
        found = _resolved(document, master, folder)
        if path not in (found.master, *found.paths):
            cause = f"is not one of the files that its metadata in {master.name} name"
            raise CorruptSource(path, cause, hint="was it renamed, or is it a copy?")
    if found is None:
        raise UnsupportedFormat(paths[0].parent, _NEITHER, hint=_NEITHER_HINT)
    return found


def _master_of(path: Path, folder: OmeFolder) -> tuple[OmeDocument, Path]:
    document = folder.document(path)
    if document is None:
        raise UnsupportedFormat(path, _NEITHER, hint=_NEITHER_HINT)
    if not document.is_binary_only:
        return document, path
    wanted, uuid = document.metadata_file, document.metadata_uuid
    master = folder.named(wanted)
    if master is None or _is_another(master, uuid, folder):
        master = folder.with_uuid(uuid)
    if master is None or master == path:
        cause = f"its metadata are in {wanted or uuid}, which is not beside it"
        raise CorruptSource(path, cause, hint="put the whole set into one folder")
    found = folder.document(master)
    if found is None or found.is_binary_only:
        raise CorruptSource(path, f"its metadata should be in {master.name}, which has none")
    return found, master


def _is_another(path: Path, uuid: str | None, folder: OmeFolder) -> bool:
    """Return True where a file has a UUID, and not the expected one."""
    own = folder.uuid_of(path)
    return uuid is not None and own is not None and own != uuid


def _resolved(document: OmeDocument, master: Path, folder: OmeFolder) -> OmeSet:
    """Return the set of a document, each reference with its file."""
    references = list(dict.fromkeys(_references(document)))
    own = peek_xml(master) is None
    if own and len(references) == 1:  # whatever it is called now, its only file is itself
        return OmeSet(document, master, {references[0]: master})
    files: dict[Reference, Path] = {}
    others: dict[Reference, Path] = {}
    for reference in references:
        uuid, name = reference
        path = folder.named(name) if name else (master if own and uuid is None else None)
        if path is not None and _is_another(path, uuid, folder):
            others[reference] = path
            path = None
        path = path or folder.with_uuid(uuid)
        if path is not None:
            files[reference] = path
    return _completed(OmeSet(document, master, files), references, others, own=own)


def _completed(
    found: OmeSet, references: list[Reference], others: dict[Reference, Path], *, own: bool
) -> OmeSet:
    missing = [r for r in references if r not in found.files]
    ordered = {r: found.files.get(r, found.master) for r in references}
    if not missing:
        return OmeSet(found.document, found.master, ordered)
    if len(others) == len(references):
        note = "the files' UUIDs are others than the metadata say; they were taken by name"
        return OmeSet(found.document, found.master, others, (note,))
    if len(missing) == 1 and own and not others and found.master not in found.paths:
        note = (
            f"{found.master.name} was taken for {missing[0][1]}, under which its metadata know it"
        )
        return OmeSet(found.document, found.master, ordered, (note,))
    uuid, name = missing[0]
    if missing[0] in others:
        cause = f"{name} is another file than the metadata mean: its UUID is not {uuid}"
    else:
        cause = f"needs {name or uuid}, which is not beside it"
        cause += f" (nor are {len(missing) - 1} others)" if len(missing) > 1 else ""
    raise CorruptSource(found.master, cause, hint="put the whole set into one folder")


def _references(document: OmeDocument) -> list[Reference]:
    blocks = [block for block in document.tiff_data]
    references = [(data.uuid, data.file_name) for block in blocks for data in block]
    return references or [(None, None)]
