"""Ports that begin as other values than 0."""

from typing import Any

from amaranth.lib.wiring import In, Member, Out


def out_from(shape: Any, init: int) -> Member:
    """Make an output that is ``init`` after a reset."""
    return Out(shape, init=init)  # pyright: ignore[reportCallIssue] (unknown to the stubs)


def in_from(shape: Any, init: int) -> Member:
    """Make an input that is ``init`` where nothing drives it."""
    return In(shape, init=init)  # pyright: ignore[reportCallIssue] (unknown to the stubs)
