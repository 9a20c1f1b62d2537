"""A board that is found on a port, and found again after its port vanished."""

import time
from collections.abc import Callable

from egress.board.client import Client
from egress.board.errors import (
    BoardError,
    PortAbsentError,
    PortBusyError,
    PortGoneError,
    SilentBoardError,
    WrongBoardError,
)
from egress.board.messages import Hello
from egress.board.port import SerialPort, Timing, identity, name_of, usb_ports

FIND_TRIES = 3


class Connection:
    """A board.

    Parameters
    ----------
    name : str, optional
        Of its port; by default that of the only board.
    timing : Timing, optional
    tell : callable, optional
        Told when the board is lost, and when it is found again.

    Members
    -------
    board : Hello
        What it is.
    client : Client
        For requests to it; another one after `reopen`.
    repeated : int
        Requests that were sent again, by all clients.

    Raises
    ------
    PortAbsentError, PortBusyError, SilentBoardError, WrongBoardError
        If there is no board, or more than one without a ``name``.
    """

    def __init__(
        self,
        name: str | None = None,
        timing: Timing | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.timing = timing or Timing()
        self._tell = tell or (lambda text: None)
        self._repeated = 0
        if name is None:
            name = find_port(self.timing)
        self.name = name
        self._identity = identity(name)
        self.client, self.board = self._connect()

    @property
    def repeated(self) -> int:
        """Requests that were sent again."""
        return self._repeated + self.client.repeated

    def close(self) -> None:
        """Close the port."""
        self.client.port.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def reopen(self) -> None:
        """Wait until the same board answers again, on the port or under another name of it.

        The session goes on, if the board still has it: the next response tells.

        Raises
        ------
        PortGoneError
            If it does not come back within `Timing.return_s`.
        WrongBoardError
            If another board does.
        """
        self._tell(f"{self.name}: the board is gone, waiting {self.timing.return_s:g} s for it")
        session = self.client.session
        self._repeated += self.client.repeated
        self.close()
        end = self.timing.clock() + self.timing.return_s
        while True:
            if self._identity:
                self.name = name_of(self._identity) or self.name
            try:
                self.client, board = self._connect()
                break
            except (PortAbsentError, PortBusyError, PortGoneError, SilentBoardError) as error:
                if self.timing.clock() >= end:
                    raise PortGoneError(
                        f"the board on {self.name} did not come back within "
                        f"{self.timing.return_s:g} s: {error}"
                    ) from None
                time.sleep(self.timing.poll_s)
        if board != self.board:
            raise WrongBoardError(
                f"another board is on {self.name} now: {board}; before it was {self.board}"
            )
        self._tell(f"{self.name}: the board is there again")
        self.client.session = session

    def _connect(self) -> tuple[Client, Hello]:
        client = Client(SerialPort(self.name, self.timing), self.timing)
        try:
            return client, client.hello()
        except BaseException:
            client.port.close()
            raise


def find_port(timing: Timing) -> str:
    """Ask all USB ports for a board; return the port of the only one that answers.

    Raises
    ------
    PortAbsentError
        If none answers, or more than one; with what is on each port.
    """
    boards, others = [], []
    for port in usb_ports():
        try:
            opened = SerialPort(port.device, timing)
            try:
                hello = Client(opened, timing).hello(FIND_TRIES)
            finally:
                opened.close()
            boards.append((port.device, hello))
        except PortBusyError:
            others.append(f"{port.device} is in use, or may not be opened")
        except WrongBoardError as error:
            others.append(f"{port.device}: {error}")
        except BoardError:
            others.append(f"{port.device} ({port.description}) does not answer")
    if len(boards) == 1:
        return boards[0][0]
    if boards:
        found = ", ".join(f"{name} ({hello.board})" for name, hello in boards)
        raise PortAbsentError(f"there are {len(boards)} boards, choose one by --port: {found}")
    raise PortAbsentError(
        f"no board was found: {'; '.join(others) or 'there is no USB serial port'}. Is it plugged "
        "in, and the design loaded (`egress board program`)? --port names a port of another kind"
    )
