"""Small catalogs full of oddities, and random questions to them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from imaging_db.catalog import Catalog
from imaging_db.model import AnnotationEdit, FrameQuality, StoredFrame
from tests.support.catalog_rows import (
    acquisition,
    digest,
    draft,
    file,
    frame,
    store,
    store_files,
)
from tests.support.plain_filter import Known

WORDS = (
    "GFP",
    "gfp",
    "DAPI",
    "a*b",
    "a?b",
    "100%",
    "a_b",
    "[x]",
    "back\\slash",
    'qu"ote',
    "it's",
    "Ö🔬",
    "405",
    "",
)
KEYS = (
    "Exposure-ms",
    "Camera-1 Gain",
    "x.y",
    'a"b',
    "it's",
    "back\\slash",
    "new\nline",
    "100%s",
    ":name",
    "0",
    "Ö",
)
NUMBERS = (0, 1, 2, 5, 50, 0.1, 12.5, -3, 1e30, 2**53 + 1, 2**62, 1e-7)
DATES = (
    "2018",
    "2018-06",
    "2018-06-08",
    "2018-06-08T15:45",
    "2019-01-01",
    "2017-12-31T23:59:59",
    "9999",
)


def fill(catalog: Catalog, seed: int) -> list[Known]:
    """Put some datasets into a catalog, unfinished ones among them; return what can be seen."""
    chance = random.Random(seed)
    serials = [f"{chance.choice(('ISP', 'ML'))}-2018-06-0{n}-15-45-00-000{n}" for n in range(6, 10)]
    for number, serial in enumerate(serials):
        of_files = number == 3
        values = {
            "description": chance.choice((None, *WORDS)),
            "microscope": chance.choice((None, "Leica SP8", "Nikon", *WORDS)),
            "parent_serial": serials[0] if number == 2 else None,
            "metadata": metadata(chance),
        }
        if of_files:
            store_files(catalog, [file("a.czi"), file("b.czi")], serial, **values)
        else:
            frames = some_frames(chance)
            store(catalog, frames, serial, acquisition=acquired(chance, frames), **values)
        words = [word.strip() for word in chance.sample(WORDS, 3) if word]
        edits = [AnnotationEdit(serial, k, chance.choice((None, "x", *words))) for k in words]
        catalog.annotations.edit(edits, author="me")
        catalog.annotations.edit([AnnotationEdit(serial, words[0], removes=True)], author="me")
    unseen = some_frames(chance)
    claim = catalog.claim(draft("ISP-2018-06-05-15-45-00-0005", len(unseen)), token="unfinished")
    catalog.add_frames(claim, unseen)
    return [known(catalog, serial) for serial in serials]


def known(catalog: Catalog, serial: str) -> Known:
    """Everything that a catalog tells of one dataset."""
    dataset = catalog.dataset(serial)
    of_frames = dataset.upload_type.value == "frames"
    return Known(
        dataset,
        catalog.metadata(serial),
        catalog.acquisition(serial) if of_frames else None,
        list(catalog.frames(serial)) if of_frames else (),
        {one.key: one.value for one in catalog.annotations.of(serial)},
    )


def some_frames(chance: random.Random) -> list[StoredFrame]:
    """Frames of a ragged acquisition with holes in it."""
    places = [(c, z, t, p) for c in range(2) for z in (0, 1, 4, 6) for t in (0, 3) for p in (0, 2)]
    names = [chance.choice((None, *WORDS)) for _ in range(3)]
    return [
        frame(
            *coords,
            channel_name=names[coords[0]],
            position_name=chance.choice((None, "Pos0", "A1")),
            width=chance.choice((2048, 2048, 100)),
            dtype=chance.choice(("uint16", "uint8")),
            sha256=digest(chance.randrange(5)),
            object_size=chance.choice((None, 10, 3_700_000)),
            codec=chance.choice(("png", "tiff")),
            quality=quality(chance),
            metadata=metadata(chance),
        )
        for coords in chance.sample(places, chance.randrange(3, 20))
    ]


def acquired(chance: random.Random, frames: list[StoredFrame]) -> Any:
    """An acquisition of which some is unknown."""
    names = tuple(dict.fromkeys(one.channel_name for one in frames))
    found = acquisition(len(frames), channel_names=names, metadata=metadata(chance))
    return replace(
        found,
        format=chance.choice(("ome_tiff", "tif_folder")),
        nbr_slices=chance.randrange(1, 5),
        pixel_size_x_um=chance.choice((None, 0.325, 0.1, 50.0)),
        z_step_um=chance.choice((None, 5.0)),
        nbr_expected=chance.choice((None, len(frames), len(frames) + 5)),
    )


def quality(chance: random.Random) -> FrameQuality | None:
    low, high = sorted((chance.choice((0.0, 1.0, 50.0)), chance.choice((0.0, 50.0, 255.0))))
    measured = FrameQuality(low, high, low, chance.choice((None, 0.0, 0.1)), 12.5, low, high)
    return chance.choice((None, measured, measured))


def metadata(chance: random.Random, depth: int = 0) -> dict[str, Any]:
    """A document with few keys of many kinds, some below what Micro-Manager says."""
    found: dict[str, Any] = {key: value(chance, depth) for key in chance.sample(KEYS, 5)}
    if depth == 0:
        found["file_origin"] = chance.choice(("/data/plate 7/a.tif", 'C:\\data\\"x"'))
        below = chance.choice(("MicroManagerMetadata", "IJMetadata", "other"))
        found[below] = metadata(chance, 1)
    return found


def value(chance: random.Random, depth: int) -> Any:
    kinds = [chance.choice(NUMBERS), chance.choice(WORDS), chance.choice((True, False, None))]
    if depth < 2:
        kinds.append([value(chance, 2), value(chance, 2)])
        kinds.append({chance.choice(KEYS): value(chance, 2)})
    return chance.choice(kinds)


# --- questions


def quoted(text: str) -> str:
    return '"' + "".join("\\" + char if char in '"\\' else char for char in text) + '"'


def listed(value: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    return st.lists(value, min_size=1, max_size=most).map(", ".join)


_words = st.sampled_from(
    (*WORDS, "G*", "*", "?", "*[*", "*\\*", "a?b", "frames", "uint16", "Pos0", "A1", "ISP*")
)
_texts = st.one_of(_words.map(quoted), st.sampled_from(("GFP", "D*", "405", "png", "ISP", "*0007")))
_numbers = st.sampled_from((*map(str, NUMBERS), "10", "2048", "1000000000000", "-1", "3700000.0"))
_indices = st.sampled_from(
    ("0", "1", "4", "6", "::2", "1:", "0:4", "1:9:3", "first", "mid", "last", "1000000000000:")
)
_order = st.sampled_from(("<", "<=", ">", ">="))
_equal = st.sampled_from(("=", "!="))
_dates = st.sampled_from(DATES)
_keys = st.sampled_from(KEYS)
_steps = st.one_of(_keys.map(lambda key: "." + quoted(key)), st.sampled_from(("[0]", "[1]", "[2]")))
_paths = st.builds(
    lambda root, key, parts: f"{root}.{quoted(key)}" + "".join(parts),
    st.sampled_from(("meta", "global", "dataset", "meta.MicroManagerMetadata", "meta.other")),
    _keys,
    st.lists(_steps, max_size=1),
)
_named = st.sampled_from(
    (
        "channel",
        "position",
        "serial",
        "project",
        "microscope",
        "description",
        "parent",
        "format",
        "dtype",
        "codec",
        "name",
        "sha256",
    )
)
_counted = st.sampled_from(
    (
        "objects",
        "slices",
        "pixel_size",
        "z_step",
        "lacking",
        "expected",
        "width",
        "bytes",
        "min",
        "mean",
        "p99",
        "saturated",
        "focus",
    )
)
_notes = st.sampled_from(tuple("note." + quoted(word) for word in WORDS if word))


def _made(shape: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(lambda found: shape.format(*found))


CONDITIONS = st.one_of(
    _made("{} {} {}", _named, _equal, listed(_texts)),
    _made("{} {} {}", _named, st.sampled_from(("~", "<", ">=")), _texts),
    _made("{} {} {}", _counted, _equal, listed(_numbers)),
    _made("{} {} {}", _counted, _order, _numbers),
    _made("{} {} {}", st.sampled_from("cztp"), _equal, listed(_indices)),
    _made(
        "{} {} {}", st.sampled_from("cztp"), _order, st.sampled_from(("0", "3", "1000000000000"))
    ),
    _made("{} {} {}", st.sampled_from(("acquired", "uploaded")), st.one_of(_equal, _order), _dates),
    _made("acquired {} {}", _equal, listed(_dates)),
    _made("{} {} {}", _paths, st.one_of(_equal, _order), _numbers),
    _made("{} {} {}", _paths, st.one_of(_equal, _order, st.just("~")), _words.map(quoted)),
    _made("{} = {}", _paths, listed(st.one_of(_numbers, _texts, st.just("true")))),
    _made("{} {} {}", _paths, _equal, st.sampled_from(("true", "false"))),
    _made(
        "{} is {}null",
        st.one_of(_paths, _named, _counted, _notes, st.just("tag")),
        st.sampled_from(("", "not ")),
    ),
    _made("tag {} {}", _equal, listed(_texts)),
    _made("tag ~ {}", _texts),
    _made("{} {} {}", _notes, _equal, listed(_texts)),
    _made("type {} {}", _equal, st.sampled_from(("frames", "file"))),
    _made("{}", st.sampled_from(("blank", "repeat", "blank = false", "repeat != true"))),
    _words.filter(bool).map(quoted),
)
QUESTIONS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        _made("not ({})", inner),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda parts: "(" + ") and (".join(parts) + ")"
        ),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + ") or (".join(parts) + ")"),
    ),
    max_leaves=5,
)
