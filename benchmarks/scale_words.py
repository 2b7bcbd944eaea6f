"""The words of docs/scale.md, and the steps that its last simulation takes."""

from __future__ import annotations

from typing import Any

MARK = "<!-- made by `python -m benchmarks.scale`; do not edit -->"

INTRODUCTION = """\
What 10⁹ frames and a thousand workers ask of PostgreSQL, of S3, and of the driver that stands between them.
Nobody has run that here: unit costs were measured on one computer, a site was assumed, and a simulation
(`benchmarks/scale_simulation.py`) lets units flow through both, event by event. It does what the driver of a
job does, with its batches and its seconds, and serves everything that is shared first come, first served.
`python -m benchmarks.scale` makes this page again from the costs in `docs/scale/costs.json`, in seconds;
`--measure` measures them anew, in some minutes on a quiet computer; `--set uplink_bytes=1.2e9` prints the page
for another site.
"""

ASSUMED = """\
None of these was measured. They are one site of middle size; put your own in with `--set`.
"""

BREAKS = """\
The most that each part carries by itself, with units and batches as a driver of a thousand workers makes
them. The first line breaks first. Larger units relieve driver and database where frames are small: a unit has
256 frames at most (`--unit_frames`), and 64 MiB of pixels, which 32 frames of 2 MiB fill.
"""

NUMBERS = """\
What ends before that, whatever the speed:

- 2 147 483 647 frames in one job: its number of frames is a whole number of 32 bits. Cut the acquisition into
  several datasets.
- Connections: a driver has two. With PostgreSQL's 100 some 45 drivers join; a thousand computers with a driver
  each need `max_connections` raised, or PgBouncer in transaction mode, which the advisory locks of a job, held for
  one transaction each, allow. A connection of ours sends `options` when it begins, which PgBouncer has to be
  told to take; that was not tried here. Better few drivers with many workers, which need no connection.
- Memory of who completes the job: every frame's place and size is held, 24 bytes each. Its time: one listing
  of all objects, page after page. Several datasets are completed side by side, each with its share of both.
- Where the table of frames no longer fits into the server's memory, rows still go in at the end of their index,
  since units are claimed in order; looking into old datasets begins to read the disk. Partition `frames` by
  `frames_global_id` before that, in ranges: no query crosses a dataset but searches of the whole catalog.
- SQLite serves one computer, and one driver at a time writes. It carries the small rows of the table above.
"""

NOT_TOLD = """\
- How PostgreSQL ages under this for weeks: vacuum of tables that are written all the time, checkpoints, the
  deeper index of a table of a terabyte. Costs of a row were measured in tables that fit in memory.
- Locks: transactions of several drivers wait for nothing of each other's in the model. They share one lock of the
  job and pass over each other's units; on a server with many cores that was not measured.
- How S3 splits a prefix, when, and what it answers meanwhile (503, asked again later; in the model it just waits).
- Failures: dead workers, leases that run out and units done twice. They cost what is done again, not more.
- The network between driver, Dask and a thousand workers; whether one Dask scheduler holds a thousand of them.
- Other content: a frame here has 2 MiB and noise as a camera's. Frames of 64 KiB ask sixteen times the rows and
  requests for the same bytes.
- A worker of another machine, and a driver's: take the table *Measured* times what yours differs.
"""

STEPS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("as it comes: one driver, one dataset", {}, {}),
    ("eight such file systems for the source", {}, {"source_bytes": 40e9}),
    ("four links of 25 Gbit/s to the store", {}, {"uplink_bytes": 12.4e9}),
    ("ten datasets, each with its driver and prefix", {"prefixes": 10, "drivers": 10}, {}),
    ("four links of 100 Gbit/s", {}, {"uplink_bytes": 50e9}),
    ("every worker beside its data", {}, {"source_bytes": 400e9}),
    ("thirty datasets instead of ten", {"prefixes": 30, "drivers": 30}, {}),
)
"""Words, what changes in the scenario, what changes at the site."""
