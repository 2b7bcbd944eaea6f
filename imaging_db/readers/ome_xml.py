"""OME-XML: from text to a small tree, and to what the files of an OME-TIFF set mean.

Source: the OME schemas 2003-FC to 2016-06 and the OME-TIFF specification. Only what the generations
share is relied on: names without namespace, old names beside new ones (NumPlanes, LogicalChannel ...).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import TypeAlias
from xml.etree.ElementTree import ParseError

from imaging_db.errors import CorruptSource
from imaging_db.model import JSONValue, clean_json

_DECLARATION = re.compile(r"^\s*(?:<\?xml[^>]*\?>)?", re.DOTALL)
_ROOT = re.compile(r"<(?:\w+:)?OME[\s>/]")
_ROOT_UUID = re.compile(r"<(?:\w+:)?OME\b[^>]*?\sUUID\s*=\s*[\"']([^\"']*)[\"']", re.DOTALL)
_WHOLE = re.compile(r"[0-9]{1,10}")
_HEAD = 16_384
_MOST_NODES = 200_000
_DEEPEST = 40
_PIECE = 2**20
# Not kept in the tree: bulk that belongs to planes, regions or attachments.
_BULK = frozenset({"BinData", "BinaryFile", "ROI", "Region", "StructuredAnnotations", "TiffData"})
_COMPACT = frozenset({"TiffData", "Plane", "UUID"})
Plane: TypeAlias = "tuple[int, int, int]"
# Names and values of a Plane element; the names are one object for all planes that have the same.
PlaneAttributes: TypeAlias = "dict[Plane, tuple[tuple[str, ...], tuple[str, ...]]]"


@dataclass(slots=True)
class Node:
    """One XML element: its name without namespace, attributes, text and children."""

    name: str
    attributes: dict[str, str]
    children: list[Node] = field(default_factory=list)
    text: str = ""

    def all(self, *names: str) -> Iterator[Node]:
        """Yield the children of these names."""
        return (child for child in self.children if child.name in names)

    def first(self, *names: str) -> Node | None:
        """Return the first child of these names, None where there is none."""
        return next(self.all(*names), None)

    def as_json(self) -> JSONValue:
        """Return the element as JSON: attributes by name, children as lists by theirs."""
        if not self.attributes and not self.children:
            return clean_json(self.text)
        value: dict[str, JSONValue] = {k: clean_json(v) for k, v in self.attributes.items()}
        if self.text:
            value["text"] = clean_json(self.text)
        for child in self.children:
            place = value.setdefault(child.name, [])
            if isinstance(place, list):
                place.append(child.as_json())
        return value


@dataclass(frozen=True, slots=True)
class TiffData:
    """Which pages of which file hold a run of planes; None where the attribute is left out."""

    first: Plane
    ifd: int | None
    count: int | None
    uuid: str | None
    file_name: str | None


@dataclass(frozen=True, slots=True)
class OmeDocument:
    """One OME-XML: its tree without bulk, and the bulk that is needed, by the Pixels' number.

    ``tiff_data`` and ``planes`` hold one entry for each Pixels element; ``planes`` the attributes of its
    Plane elements by (channel, slice, timepoint). ``metadata_file`` and ``metadata_uuid`` name the
    master of a BinaryOnly document.
    """

    root: Node
    uuid: str | None
    metadata_file: str | None
    metadata_uuid: str | None
    tiff_data: tuple[tuple[TiffData, ...], ...]
    planes: tuple[PlaneAttributes, ...]
    text: str

    @property
    def is_binary_only(self) -> bool:
        """True where the document only points at its master."""
        return self.root.first("BinaryOnly") is not None

    def file_names(self) -> tuple[str, ...]:
        """Return the files that the document names, each once, in its order."""
        names = (d.file_name for block in self.tiff_data for d in block if d.file_name)
        return tuple(dict.fromkeys(names))


def looks_like_ome(text: str) -> bool:
    """Return True where ``text`` is XML with an OME element; comments of any length may precede it."""
    return is_xml(text) and _ROOT.search(text) is not None


def is_xml(text: str) -> bool:
    """Return True where ``text`` starts as XML does."""
    return text[:_HEAD].lstrip("\ufeff \t\r\n").startswith("<")


def root_uuid(text: str) -> str | None:
    """Return the UUID of the OME element without parsing the rest, None where it has none."""
    found = _ROOT_UUID.search(text)
    return normal_uuid(found[1]) if found else None


def normal_uuid(text: str | None) -> str | None:
    """Return a UUID in lower case without ``urn:uuid:``, None for an empty one."""
    plain = (text or "").strip().lower().removeprefix("urn:uuid:")
    return plain or None


def parse_ome_xml(text: str, source: Path) -> OmeDocument:
    """Return the document that ``text`` spells; no entity is expanded, nothing is fetched.

    Raises
    ------
    CorruptSource
        Not well-formed, with a DTD or entities, not OME, or numbers that are none.
    """
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    target = _Target(source)
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    # The text is decoded already: what its declaration says of an encoding no longer holds.
    body = text.lstrip("\ufeff")
    body = body[_DECLARATION.match(body).end() :]  # type: ignore[union-attr]
    try:
        for start in range(0, len(body), _PIECE):  # no second copy of a long text
            parser.feed(body[start : start + _PIECE].encode("utf-8", "replace"))
        parser.close()
    except DefusedXmlException as error:
        cause = f"OME-XML with a DTD or entities is refused ({type(error).__name__})"
        raise CorruptSource(source, cause) from error
    except (ParseError, ValueError) as error:
        raise CorruptSource(source, f"OME-XML cannot be parsed: {error}") from error
    return target.document(text)


class _Target:
    """Receives the parser's events; keeps a tree of what matters, and planes and pages compactly."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._stack: list[Node] = []
        self._skipped = 0
        self._nodes = 0
        self._root: Node | None = None
        self._tiff_data: list[list[TiffData]] = []
        self._planes: list[PlaneAttributes] = []
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        if self._skipped:
            self._skipped += 1
            return
        self._nodes += name not in _COMPACT
        if len(self._stack) > _DEEPEST:
            raise CorruptSource(self._source, f"OME-XML is nested deeper than {_DEEPEST} elements")
        if self._nodes > _MOST_NODES:
            raise CorruptSource(self._source, f"OME-XML has more than {_MOST_NODES} elements")
        plain = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        node = Node(name, plain)
        if name == "Pixels":
            self._tiff_data.append([])
            self._planes.append({})
        if self._stack and name not in (*_BULK, "Plane"):
            self._stack[-1].children.append(node)
        elif not self._stack:
            self._root = node
        if name in _BULK and name != "TiffData":
            self._skipped = 1
        else:
            self._stack.append(node)

    def data(self, text: str) -> None:
        if not self._skipped and self._stack:
            self._stack[-1].text += text.strip() if not self._stack[-1].text else text

    def end(self, tag: str) -> None:
        if self._skipped:
            self._skipped -= 1
            return
        node = self._stack.pop()
        node.text = node.text.strip()
        if self._tiff_data and node.name == "TiffData":
            self._tiff_data[-1].append(self._tiff_data_of(node))
        elif self._planes and node.name == "Plane":
            self._keep_plane(node)

    def _keep_plane(self, node: Node) -> None:
        c, z, t = (_number(node, f"The{axis}", self._source) or 0 for axis in "CZT")
        names = tuple(node.attributes)
        names = self._names.setdefault(names, names)
        self._planes[-1].setdefault((c, z, t), (names, tuple(node.attributes.values())))

    def close(self) -> None:
        return

    def document(self, text: str) -> OmeDocument:
        root = self._root
        if root is None or root.name != "OME":
            raise CorruptSource(self._source, "the XML in its description is not OME-XML")
        master = root.first("BinaryOnly")
        return OmeDocument(
            root=root,
            uuid=normal_uuid(root.attributes.get("UUID")),
            metadata_file=master.attributes.get("MetadataFile") if master else None,
            metadata_uuid=normal_uuid(master.attributes.get("UUID")) if master else None,
            tiff_data=tuple(map(tuple, self._tiff_data)),
            planes=tuple(self._planes),
            text=text,
        )

    def _tiff_data_of(self, node: Node) -> TiffData:
        uuid = node.first("UUID")
        numbers = {
            name: _number(node, name, self._source)
            for name in ("FirstC", "FirstZ", "FirstT", "IFD", "PlaneCount", "NumPlanes")
        }
        count = numbers["PlaneCount"]
        return TiffData(
            first=(numbers["FirstC"] or 0, numbers["FirstZ"] or 0, numbers["FirstT"] or 0),
            ifd=numbers["IFD"],
            count=numbers["NumPlanes"] if count is None else count,
            uuid=_shared(normal_uuid(uuid.text)) if uuid else None,
            file_name=_shared(uuid.attributes.get("FileName") or None) if uuid else None,
        )


def _shared(text: str | None) -> str | None:
    """Return one object for equal texts: thousands of TiffData name the same file."""
    return None if text is None else intern(text)


def _number(node: Node, name: str, source: Path) -> int | None:
    text = node.attributes.get(name)
    if text is None:
        return None
    plain = len(text) <= 10 and text.isascii() and text.isdigit()
    if not plain and not _WHOLE.fullmatch(text.strip()):
        raise CorruptSource(source, f"OME-XML: {node.name} {name}={text!r} is not a whole number")
    return int(text)
