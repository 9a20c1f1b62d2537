"""Serial ports with boards on them."""

import errno
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import serial
from serial.tools import list_ports

from egress.board.errors import BoardError, PortAbsentError, PortBusyError, PortGoneError
from egress.board.protocol import BAUD

WRITE_LIMIT_S = 60.0
"""After which a port that takes no bytes counts as gone."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast a line is, and how long a host waits, in seconds of ``clock``.

    Parameters
    ----------
    baud : int
        Of the line.
    answer_s : float
        For a response, besides the time that the bytes are on the line; up to four times as long
        after requests that were not answered.
    tries : int
        Requests without a response after which a board counts as silent.
    return_s : float
        For a port that vanished, or a board that fell silent, to be there again.
    settle_s : float
        Without a change, after which nothing more is expected of a core that stopped.
    stall_s : float
        Without a change, besides the time that the core needs for a tensor, after which a core
        that is busy counts as hung.
    poll_s : float
        Real seconds that one read of the port waits.
    clock : callable
        Seconds that have passed since whenever.
    """

    baud: int = BAUD
    answer_s: float = 0.3
    tries: int = 8
    return_s: float = 60.0
    settle_s: float = 0.5
    stall_s: float = 10.0
    poll_s: float = 0.02
    clock: Callable[[], float] = time.monotonic

    @property
    def byte_s(self) -> float:
        """Seconds of a byte on the line."""
        return 10 / self.baud


class SerialPort:
    """A serial port that is open for this program alone.

    Parameters
    ----------
    name : str
        ``/dev/ttyUSB1``, ``COM3``.
    timing : Timing, optional
        Its rate, and the longest wait of `read`.

    Raises
    ------
    PortAbsentError, PortBusyError
        If it cannot be opened.
    """

    def __init__(self, name: str, timing: Timing | None = None) -> None:
        self.name = name
        timing = timing or Timing()
        try:
            self._serial = serial.Serial(
                name,
                timing.baud,
                timeout=timing.poll_s,
                write_timeout=WRITE_LIMIT_S,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise _not_opened(name, error) from None

    def read(self, wait: bool = True) -> bytes:
        """Return what has come; with ``wait``, wait a little if nothing has.

        Raises
        ------
        PortGoneError
            If the port vanished.
        """
        try:
            return self._serial.read(self._serial.in_waiting or wait)
        except (serial.SerialException, OSError, TypeError) as error:
            raise PortGoneError(f"{self.name} vanished: {error}") from None

    def write(self, data: bytes) -> None:
        """Send bytes; returns when the system has them.

        Raises
        ------
        PortGoneError
            If the port vanished, or takes nothing for `WRITE_LIMIT_S`.
        """
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError, TypeError) as error:
            raise PortGoneError(f"{self.name} vanished: {error}") from None

    def close(self) -> None:
        """Close the port, whatever state it is in."""
        with suppress(serial.SerialException, OSError):
            self._serial.close()


def _not_opened(name: str, error: Exception) -> BoardError:
    code = getattr(error, "errno", None)
    text = str(error)
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in text:
        return PortBusyError(f"{name} is in use by another program: end that one first")
    if code in (errno.EACCES, errno.EPERM) or "PermissionError" in text:
        return PortBusyError(
            f"{name} may not be opened: on Linux, `sudo usermod -aG dialout $USER` and a new login "
            "allow it; on Windows, another program may have it open"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO) or "FileNotFoundError" in text:
        others = ", ".join(port.device for port in usb_ports()) or "none"
        return PortAbsentError(
            f"{name}: there is no such port; is the board plugged in? USB ports here: {others}"
        )
    return PortAbsentError(f"{name} cannot be opened as a serial port: {text}")


def usb_ports() -> list[Any]:
    """List serial ports of USB devices by name, as pyserial describes them."""
    ports = [port for port in list_ports.comports() if port.vid is not None]
    return sorted(ports, key=lambda port: port.device)


def identity(name: str) -> tuple[Any, ...] | None:
    """Tell what stays of a USB port that is plugged in again; None if it is not known."""
    for port in usb_ports():
        if port.device == name:
            # A chip with two ports has one serial number; the location ends with the interface.
            interface = (port.location or "").rpartition(":")[2]
            place = port.serial_number or port.location
            return (port.vid, port.pid, place, interface)
    return None


def name_of(known: tuple[Any, ...]) -> str | None:
    """Find the name that the port of an identity has now; None if it is not there."""
    return next((port.device for port in usb_ports() if identity(port.device) == known), None)
