"""A real acquisition, for the demo; see SOURCE.md and LICENSE.txt."""
