"""Engines: who does the work of a runner, threads or a cluster."""
