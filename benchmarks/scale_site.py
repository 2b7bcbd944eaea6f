"""A place to run large jobs: what is assumed of its database server, its store and its network, and why."""

from __future__ import annotations

from dataclasses import dataclass

_AWS = "Amazon S3 user guide, *Optimizing Amazon S3 performance*"


@dataclass(frozen=True, slots=True)
class Site:
    """Numbers that were not measured; each has its reason in `REASONS`. Bytes and seconds."""

    database_cores: int = 8
    log_bytes: float = 200e6
    sync_seconds: float = 0.001
    round_trip: float = 0.0005
    round_trips: int = 10
    connections: int = 100
    connections_a_driver: int = 2
    puts_a_prefix: float = 3500.0
    put_seconds: float = 0.1
    putters: int = 8
    list_seconds: float = 0.15
    listed_at_once: int = 1000
    uplink_bytes: float = 3.1e9
    source_bytes: float = 5e9
    database_memory: float = 64e9


REASONS = {
    "database_cores": "a server of middle size; the cost of a transaction is taken as the measured machine's",
    "log_bytes": "what one cloud volume or SATA SSD writes steadily, bytes/s",
    "sync_seconds": "a commit waits for an SSD with a cache that keeps, s",
    "round_trip": "from driver to database within a data centre, s",
    "round_trips": "statements of a claim or commit, BEGIN and COMMIT among them, counted in the code",
    "connections": "PostgreSQL's own `max_connections`",
    "connections_a_driver": "one that claims and commits, one that renews",
    "puts_a_prefix": f"PUTs a second below one prefix before S3 splits it: {_AWS}",
    "put_seconds": f"a small object takes 100 to 200 ms there: {_AWS}",
    "putters": "threads of one unit that put (`imaging_db/jobs/work.py`)",
    "list_seconds": "one page of a listing, s; the same guide's latencies",
    "listed_at_once": "keys of one page: ListObjectsV2",
    "uplink_bytes": "25 Gbit/s between the cluster and the store, bytes/s",
    "source_bytes": "a parallel file system of middle size, bytes/s",
    "database_memory": "what the database server keeps of its tables, bytes",
}
"""Why each number of a `Site` is what it is."""
