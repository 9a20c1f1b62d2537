"""Other people's codecs, each run in an interpreter where it is installed."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from egress.errors import ToolError

VARIABLE = "EGRESS_PEERS"
"""Environment variable that names interpreters, or folders of environments, with peers."""

HOW = (
    "`make peers` installs all under build/peers, to be named by --peer-python build/peers or "
    f"{VARIABLE}=build/peers; pip install 'egress[peers]' those that can live beside this project"
)
"""What to do where a peer is missing."""

WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, slots=True)
class Timing:
    """What a peer did with some levels.

    Members
    -------
    bits : int
        Of its output.
    clipped : int
        Levels that it cannot hold and that were clipped for it.
    encode, decode : float
        CPU seconds.
    """

    bits: int
    clipped: int
    encode: float
    decode: float


def find_interpreters(named: Sequence[str | Path] = ()) -> list[Path]:
    """Interpreters that may have peers, this one first.

    Parameters
    ----------
    named : sequence of path
        Interpreters, or folders of virtual environments; by default what `VARIABLE` names,
        separated as in PATH.

    Raises
    ------
    ToolError
        If a path is neither.
    """
    named = named or [entry for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    found = [Path(sys.executable)]
    for entry in map(Path, named):
        inside = sorted(entry.glob("*/bin/python")) or sorted(entry.glob("*/Scripts/python.exe"))
        if entry.is_dir() and inside:
            found += inside
        elif entry.is_file() and os.access(entry, os.X_OK):
            found.append(entry)
        else:
            raise ToolError(f"{entry}: neither a Python interpreter nor a folder of environments")
    return found


class Worker:
    """A process that answers requests, a JSON object a line each.

    Parameters
    ----------
    command : sequence of str or path
    environment : mapping
        Variables beside those of this process.
    """

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Ask and wait for the answer.

        Raises
        ------
        ToolError
            If the worker ends or says that it failed.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        what = request.get("codec", "peers")
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ToolError(f"{what}: {self._command[0]} ended unexpectedly")
        answer = json.loads(line)
        if "error" in answer:
            raise ToolError(f"{what}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Let the worker end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # One that has ended cannot take what it was sent.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Peers:
    """The peers that were found, as a context manager.

    Members
    -------
    versions : dict
        Package and version by codec, for the codecs that are installed.
    """

    def __init__(self, named: Sequence[str | Path] = ()) -> None:
        self.versions: dict[str, str] = {}
        self._interpreters = find_interpreters(named)
        self._workers: dict[str, Worker] = {}
        self._stack = ExitStack()
        self._serial = 0

    def __enter__(self) -> Self:
        with self._stack as stack:
            for interpreter in self._interpreters:
                # Isolated, or modules beside the worker would stand in for the standard library's.
                worker = Worker([interpreter, "-I", WORKER])
                stack.callback(worker.close)
                try:
                    listed = worker.ask(do="list")["codecs"]
                except ToolError:
                    # An interpreter without numpy has no peers either.
                    continue
                for codec, version in listed.items():
                    if codec not in self.versions:
                        self.versions[codec], self._workers[codec] = version, worker
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *caught: object) -> None:
        self._stack.close()

    @contextmanager
    def shared(self, levels: NDArray[Any]) -> Iterator[Path]:
        """Put levels into a file that the workers can read, for `code`, while the block runs."""
        self._serial += 1
        # A new path each time: a worker keeps what it read from one.
        path = self._folder / f"{self._serial}.npy"
        np.save(path, levels, allow_pickle=False)
        try:
            yield path
        finally:
            path.unlink()

    def code(self, codec: str, levels: Path) -> Timing:
        """Encode what `shared` gave and decode it; the first time, see that it is the same.

        Raises
        ------
        ToolError
            If the peer fails, or does not decode what it encoded.
        """
        return Timing(**self._workers[codec].ask(do="code", codec=codec, file=str(levels)))
