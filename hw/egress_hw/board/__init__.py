"""The design on a board: the core, and what stands between it and a host (docs/link.md)."""
