"""What is asked of a study before it is published: REMBI's fields as the BioImage Archive's form has them.

Sources: REMBI (Sarkans et al., Nature Methods 2021, doi 10.1038/s41592-021-01166-8) and the form
BioImages.v5 of the BioStudies submission tool: the names of the fields, and which of them are required.
"""

from __future__ import annotations

from dataclasses import dataclass

LICENSES = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
}
"""The licenses that the BioImage Archive takes, and where each can be read."""
SHORTEST_TITLE = 25
"""How many characters the archive wants of a study's title."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a section.

    ``many`` takes a list of texts; ``columns`` makes it a table, a list of objects with these fields.
    """

    name: str
    about: str
    required: bool = False
    many: bool = False
    columns: tuple[Field, ...] = ()


SECTIONS: dict[str, tuple[Field, ...]] = {
    "Study": (
        Field("Title", f"at least {SHORTEST_TITLE} characters, often the publication's", True),
        Field("Description", "what the data are; may be the abstract of the publication", True),
        Field("Keywords", "words by which it is found", True, many=True),
        Field("License", " or ".join(LICENSES), True),
        Field("Release Date", "when everybody may see it: YYYY-MM-DD", True),
        Field(
            "Authors",
            "who made the data",
            True,
            columns=(
                Field("Name", "full name"),
                Field("E-mail", "address"),
                Field("Organisation", "where they work", True),
                Field("Role", "such as submitter, data acquisition, principal investigator"),
                Field("ORCID", "such as 0000-0002-1825-0097"),
            ),
        ),
        Field("Acknowledgements", "people and groups to thank"),
        Field("Funding statement", "how it was paid for"),
        Field(
            "Publications",
            "articles about the data",
            columns=tuple(
                Field(name, "of the article")
                for name in ("Title", "Authors", "DOI", "Year", "Pubmed ID")
            ),
        ),
        Field(
            "Links",
            "code, other data, a project's page",
            columns=(Field("Link", "the URL"), Field("Description", "what is there")),
        ),
    ),
    "Study Component": (
        Field("Name", "of this set of images", True),
        Field("Description", "what this set of images is", True),
    ),
    "Biosample": (
        Field("Title", "a short name", True),
        Field("Organism", "species, such as Homo sapiens (human)", True),
        Field("NCBI taxon", "number of the species in NCBI Taxonomy, such as 9606"),
        Field("Biological entity", "what is imaged, such as an organ or a cell line", True),
        Field("Description", "the sample in one sentence"),
        Field("Experimental variable", "what differs between images on purpose"),
        Field("Extrinsic variable", "treatment from outside, such as a drug"),
        Field("Intrinsic variable", "what is altered in the sample, such as a gene"),
    ),
    "Specimen": (
        Field("Title", "a short name", True),
        Field("Sample preparation protocol", "how it was prepared for imaging", True),
        Field("Growth protocol", "how it was grown"),
    ),
    "Image acquisition": (
        Field("Title", "a short name", True),
        Field("Imaging instrument", "the microscope, its objective, camera and lasers", True),
        Field("Image acquisition parameters", "settings of the instrument", True),
        Field("Imaging method", "such as confocal microscopy", True, many=True),
        Field("FBbi id", "the method in the ontology FBbi, such as FBbi:00000251"),
    ),
    "Signal channels": (
        Field(
            "Channels",
            "what is seen in each channel",
            columns=(
                Field("Channel", "its name in the data"),
                Field("Biological entity", "what is labelled, such as DNA"),
                Field("Content", "with what, such as Hoechst 33342"),
            ),
        ),
    ),
}


def field_of(section: str, name: str) -> Field | None:
    """Return a field, None where there is none of that name."""
    return next((field for field in SECTIONS.get(section, ()) if field.name == name), None)
