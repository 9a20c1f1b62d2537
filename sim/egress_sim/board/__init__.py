"""Boards simulated at their pins, for the unmodified host's program."""
