"""How long to wait between two polls, and since when nothing changes."""

from collections.abc import Callable

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.05


class Watch:
    """Looks at something again and again.

    Parameters
    ----------
    clock : callable
        Seconds.

    Members
    -------
    unchanged_s : float
        For how long what was looked at is the same, as of the last look.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.unchanged_s = 0.0
        self._clock = clock
        self._seen: object = None
        self._since = self._pause = 0.0

    def look(self, seen: object) -> float:
        """Take what is seen now; return the seconds to wait, longer and longer without a change."""
        now = self._clock()
        if seen != self._seen:
            self._seen, self._since, self._pause = seen, now, 0.0
        self.unchanged_s = now - self._since
        self._pause = min(LONGEST_PAUSE_S, 2 * self._pause + FIRST_PAUSE_S)
        return self._pause
