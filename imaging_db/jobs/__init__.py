"""Durable ingest jobs: a plan in the catalog, cut into units that many runners share."""
