"""A simulated board with a pseudo-terminal as its serial port."""

import json
import mmap
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egress.board.port import Timing
from egress.errors import ToolError
from egress_sim import runner
from egress_sim.board.build import BoardShape

END_S = 30

ANSWER_S = 0.02
RETURN_S = 20.0
"""Shorter than with a real board, where the systems of host and adapter take their time, and where
someone has to come."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in a simulation.

    Members
    -------
    cycles : int
        That were simulated.
    seconds : float
        Simulated time, with what was skipped.
    to_board, from_board : int
        Bytes, lost ones included.
    glitches, lost, events : int
        Inverted bits of both wires, lost bytes; resets and pulled cables.
    flash_bytes : int
        That were read.
    """

    cycles: int
    seconds: float
    to_board: int
    from_board: int
    glitches: int
    lost: int
    flash_bytes: int
    events: int


class SimulatedBoard:
    """A running simulation of a board; `port` is its serial port's name.

    Time is simulated: a host that waits should do it by `timing`, so that it waits neither for a
    slow simulation nor, in reality, for a board that will not answer.

    Parameters
    ----------
    harness : Path
        Of `egress_sim.board.build.build`.
    shape : BoardShape
        What it was built of.
    flash : bytes
        Contents of the board's flash.
    faults : sequence of str
        As at the top of board_harness.cpp: ``noise=1e-4``, ``unplug@2000=0.5``.
    seed : int
        Of the faults that are random.

    Raises
    ------
    ToolError
        If the simulation does not start.
    """

    def __init__(
        self,
        harness: Path,
        shape: BoardShape,
        *,
        flash: bytes = b"",
        faults: Sequence[str] = (),
        seed: int = 1,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="egress-board-")
        folder = Path(self._folder.name)
        self.port = str(folder / "port")
        (folder / "time").write_bytes(bytes(8))
        (folder / "flash").write_bytes(flash)
        with (folder / "time").open("r+b") as file:
            self._time = mmap.mmap(file.fileno(), 8)
        self._errors = folder / "errors"
        command = [harness, round(shape.clock_hz / shape.baud), shape.clock_hz, self.port]
        command += [folder / "time", folder / "flash", seed, *faults]
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout
        if self._process.stdout.readline() != "ready\n":
            raise self._died()
        self.timing = Timing(
            baud=shape.baud,
            answer_s=ANSWER_S,
            return_s=RETURN_S,
            poll_s=0.002,
            clock=self.seconds,
        )

    def seconds(self) -> float:
        """Tell the simulated time.

        Raises
        ------
        ToolError
            If the simulation has ended: time stands still then, and a host would wait for ever.
        """
        if self._process.poll() is not None:
            raise self._died()
        return struct.unpack("=Q", self._time[:8])[0] * 1e-9

    def tell(self, fault: str) -> None:
        """Let a fault happen now, with ``@now`` for its place, or change a rate.

        Raises
        ------
        ToolError
            If the simulation has ended.
        """
        assert self._process.stdin
        try:
            self._process.stdin.write(fault + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def close(self) -> Happened:
        """End the simulation and tell what happened.

        Raises
        ------
        ToolError
            If it had ended by itself.
        """
        try:
            text, _ = self._process.communicate(timeout=END_S)
            said: dict[str, Any] = json.loads(text.strip() or "{}")
            if self._process.returncode or not said:
                raise self._died()
            return Happened(**said)
        finally:
            self.kill()

    def kill(self) -> None:
        """End the simulation whatever it does, and remove its files."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._folder.cleanup()

    def __enter__(self) -> "SimulatedBoard":
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def _died(self) -> ToolError:
        return ToolError(f"the simulated board died: {runner.tail(self._errors)}")
