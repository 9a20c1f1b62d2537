"""Boards: the link to the design on one, and what the host does with it (docs/link.md)."""
