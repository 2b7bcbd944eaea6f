"""Make docs/scale.md: ``python -m benchmarks.scale``; with ``--measure`` measure the unit costs first."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.scale_costs import KEPT, load, save
from benchmarks.scale_page import page
from benchmarks.scale_site import Site

OUT = Path(__file__).parent.parent / "docs" / "scale.md"


def main() -> int:
    """Do what the command line asks for."""
    asked = _arguments()
    if asked.measure:
        from benchmarks.scale_measure import measured

        save(measured(), asked.costs)
    if asked.set:
        print(page(load(asked.costs), _site(asked.set)))
        return 0
    OUT.write_text(page(load(asked.costs), Site()), encoding="utf-8")
    print(f"report: {OUT}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--measure", action="store_true", help="measure the unit costs, and keep them"
    )
    parser.add_argument("--costs", type=Path, default=KEPT, help="where the costs are kept")
    names = ", ".join(item.name for item in fields(Site))
    parser.add_argument(
        "--set",
        action="append",
        metavar="NAME=NUMBER",
        help=f"another site: prints its page and writes nothing; {names}",
    )
    return parser.parse_args()


def _site(given: list[str]) -> Site:
    """Return the site with some numbers of its own; ends with 2 where one is not known."""
    known = asdict(Site())
    values: dict[str, Any] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in known:
            print(f"a site has no {name}; it has {', '.join(known)}", file=sys.stderr)
            sys.exit(2)
        values[name] = type(known[name])(float(number))
    return replace(Site(), **values)


if __name__ == "__main__":
    sys.exit(main())
