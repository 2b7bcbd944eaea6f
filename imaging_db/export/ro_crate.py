"""RO-Crate 1.1: what lies in a pack, as JSON-LD that other archives read.

Source: RO-Crate Metadata Specification 1.1 (https://w3id.org/ro/crate/1.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from imaging_db.export.plan import ExportPlan
from imaging_db.export.rembi import Rembi
from imaging_db.export.rembi_fields import LICENSES

NAME = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_PROFILE = "https://w3id.org/ro/crate/1.1"
_UNLICENSED = "No license was named: ask the authors before you use it"
_KINDS = {
    ".json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".md": "text/markdown",
    ".txt": "text/plain",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One image in a pack: its path with forward slashes, and its size where it is one file."""

    plan: ExportPlan
    path: str
    nbr_bytes: int | None


def ro_crate(
    rembi: Rembi, images: Iterable[Part], others: Iterable[str], *, published: str
) -> dict[str, Any]:
    """Return the crate of a pack; ``published`` is an ISO date, ``others`` the files beside the images."""
    parts = [*map(_image, images), *map(_other, others)]
    authors, organisations = _authors(rembi)
    license_, licenses = _license(rembi)
    serials = [part["identifier"] for part in parts if "identifier" in part]
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": rembi.get("Study", "Title") or ", ".join(serials),
        "description": rembi.get("Study", "Description")
        or rembi.get("Study Component", "Description")
        or f"Microscopy images: {', '.join(serials)}",
        "datePublished": published,
        "license": license_,
        "hasPart": [{"@id": part["@id"]} for part in parts],
    }
    if authors:
        root["author"] = [{"@id": author["@id"]} for author in authors]
    if rembi.get("Study", "Keywords"):
        root["keywords"] = ", ".join(rembi.get("Study", "Keywords"))
    descriptor = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _PROFILE},
        "about": {"@id": "./"},
    }
    graph = [descriptor, root, *parts, *authors, *organisations, *licenses]
    return {"@context": _CONTEXT, "@graph": graph}


def _image(part: Part) -> dict[str, Any]:
    dataset, is_file = part.plan.dataset, part.nbr_bytes is not None
    found: dict[str, Any] = {
        "@id": quote(part.path) + ("" if is_file else "/"),
        "@type": "File" if is_file else "Dataset",
        "name": dataset.serial,
        "identifier": dataset.serial,
    }
    if dataset.description:
        found["description"] = dataset.description
    if dataset.acquired_at is not None:
        found["dateCreated"] = dataset.acquired_at.isoformat()
    if is_file:
        found |= {"encodingFormat": "image/tiff", "contentSize": str(part.nbr_bytes)}
    return found


def _other(path: str) -> dict[str, Any]:
    suffix = path[path.rfind(".") :]
    return {
        "@id": quote(path),
        "@type": "File",
        "name": path,
        "encodingFormat": _KINDS.get(suffix, "application/octet-stream"),
    }


def _authors(rembi: Rembi) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = rembi.get("Study", "Authors") or []
    names = dict.fromkeys(row["Organisation"] for row in rows if row.get("Organisation"))
    places = {name: f"#organisation-{number}" for number, name in enumerate(names, 1)}
    people = []
    for number, row in enumerate(rows, 1):
        orcid = row.get("ORCID", "").rpartition("/")[2]
        identity = f"https://orcid.org/{orcid}" if orcid else f"#author-{number}"
        person: dict[str, Any] = {"@id": identity, "@type": "Person"}
        person["name"] = row.get("Name") or f"Author {number}"
        if row.get("Organisation"):
            person["affiliation"] = {"@id": places[row["Organisation"]]}
        people.append(person)
    return people, list(_organisations(places))


def _organisations(places: dict[str, str]) -> Iterator[dict[str, Any]]:
    for name, identity in places.items():
        yield {"@id": identity, "@type": "Organization", "name": name}


def _license(rembi: Rembi) -> tuple[Any, list[dict[str, Any]]]:
    name = rembi.get("Study", "License")
    if name not in LICENSES:
        return name or _UNLICENSED, []
    about = {
        "@id": LICENSES[name],
        "@type": "CreativeWork",
        "name": name,
        "description": f"The license {name} of Creative Commons",
    }
    return {"@id": LICENSES[name]}, [about]
