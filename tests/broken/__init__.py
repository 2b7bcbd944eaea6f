"""Builds that are broken on purpose: each patch takes away one thing that the promise rests on."""
