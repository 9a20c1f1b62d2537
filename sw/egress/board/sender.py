"""A stream sent to a board as fast as it takes it."""

from collections import deque

from egress.board.messages import Status
from egress.board.protocol import MAX_DATA
from egress.board.tally import Tally
from egress.board.watch import Watch

WINDOW_FRAMES = 24
"""``DATA`` that may be on its way, if the board has room for it."""

LEAST_AFTER_DATA = 64
"""Bytes of ``DATA`` that takes longer than the response to the one before it, at the longest."""

LEAST_DATA = 32
"""On a noisy line, ``DATA`` is made shorter, down to this."""


class Sender:
    """Sends a session's stream, and serves what the board has meanwhile.

    Parameters
    ----------
    tally : Tally
        Of the stream; all that comes is noted there.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._size = MAX_DATA
        self._timing = tally.connection.timing
        self._forget(0)

    def lower(self) -> None:
        """Send shorter ``DATA``: the line is bad."""
        self._size = max(LEAST_DATA, self._size // 2 & ~3)

    def send(self) -> None:
        """Send ``DATA`` until the board has all of it, or its core has stopped.

        Raises
        ------
        BoardError
            If the board hangs, or cannot be reached.
        """
        tally = self._tally
        self._forget(tally.status.next)
        watch = Watch(self._timing.clock)
        good = 0
        while not tally.stopped:
            # No other request may be on the line together with DATA.
            serve = tally.waiting
            while not serve and self._fits():
                self._send_one()
            if self._sent:
                answered, lost = self._hear()
                good += answered
                if lost:
                    good = 0
                    self.lower()
                elif good >= WINDOW_FRAMES:
                    good = 0
                    self._size = min(MAX_DATA, 2 * self._size)
            elif serve:
                tally.serve()
            elif tally.status.next == tally.length:
                return
            else:
                tally.poll()
                self._at = tally.status.next
                if not self._fits() and not tally.reports_waiting:
                    tally.pause(watch)
                    if watch.unchanged_s > tally.stall_s:
                        raise tally.hangs()

    def _forget(self, at: int) -> None:
        """Take nothing to be on its way; go on at a place."""
        # DATA on its way: tags, places and sizes in order; the place of the next one.
        self._sent: deque[tuple[int, int, int]] = deque()
        self._at = at
        # When the last one is through the line, and when its response is late.
        self._queued = self._deadline = 0.0

    @property
    def _room(self) -> int:
        return self._tally.status.next + self._tally.status.room - self._at

    def _fits(self) -> bool:
        """Whether another ``DATA`` may be sent now."""
        left = self._tally.length - self._at
        frames = WINDOW_FRAMES if self._size == MAX_DATA else 1
        wanted = min(self._size, left) if self._sent else 4
        if self._sent and wanted < LEAST_AFTER_DATA:
            return False
        return left > 0 and self._room >= wanted and len(self._sent) < frames

    def _send_one(self) -> None:
        tally = self._tally
        size = min(self._size, tally.length - self._at, self._room) & ~3
        at = tally.base + self._at
        tag = tally.connection.client.send_data(self._at, tally.cargo.data[at : at + size])
        self._sent.append((tag, self._at, size))
        self._at += size
        # With what frames and escapes add.
        line = self._timing.byte_s * (size * 9 / 8 + 16)
        self._queued = max(self._queued, self._timing.clock()) + line
        self._deadline = self._queued + self._timing.answer_s

    def _hear(self) -> tuple[int, bool]:
        """Take responses to ``DATA``; return how many, and whether something is sent again."""
        late = self._timing.clock() >= self._deadline
        client = self._tally.connection.client
        answers = client.data_answers(wait=not late)
        for tag, status in answers:
            if self._answered(tag, status):
                # What is still on its way will not be taken either.
                client.repeated += 1 + len(self._sent)
                self._forget(status.next)
                return len(answers), True
        if late and not answers and self._sent:
            client.repeated += len(self._sent)
            self._tally.poll()
            self._forget(self._tally.status.next)
            return 0, True
        return len(answers), False

    def _answered(self, tag: int, status: Status) -> bool:
        """Note a response; return whether its ``DATA`` was not taken."""
        place = next((i for i, sent in enumerate(self._sent) if sent[0] == tag), None)
        if place is None:
            return False
        _, offset, size = self._sent[place]
        # Responses come in order: those before this one are lost, or their requests are.
        for _ in range(place + 1):
            self._sent.popleft()
        self._tally.note(status)
        return status.next < offset + size
