"""What goes wrong between a host and a board."""


class BoardError(RuntimeError):
    """Something on the way to a board; the message says what is wrong, where, and what to do."""


class ProtocolError(BoardError):
    """A response whose frame is right and whose contents are not."""


class PortAbsentError(BoardError):
    """There is no such port, or no port with a board."""


class PortBusyError(BoardError):
    """Another program has the port open."""


class PortGoneError(BoardError):
    """The port vanished while it was open."""


class SilentBoardError(BoardError):
    """What is on the port does not answer."""


class WrongBoardError(BoardError):
    """What answers is no board with the design, or one of another version."""


class SessionLostError(BoardError):
    """The board was reset, or lost its power, since the session began."""
