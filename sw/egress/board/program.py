"""Putting a design on a board, or a stream into its flash, by the tools that others made for it."""

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from egress.errors import ToolError

INSTALL = {
    "openFPGALoader": (
        "Debian and Ubuntu: `sudo apt install openfpgaloader`; macOS: `brew install "
        "openfpgaloader`; others: https://trabucayre.github.io/openFPGALoader/guide/install.html"
    ),
    "dfu-util": (
        "Debian and Ubuntu: `sudo apt install dfu-util`; macOS: `brew install dfu-util`; others: "
        "https://dfu-util.sourceforge.net"
    ),
}


def command(loader: str, file: Path, address: int | None = None) -> list[str]:
    """Make the command that writes a file.

    Parameters
    ----------
    loader : str
        Tool and options that choose the board.
    file : Path
        A design; or with ``address`` anything, for the flash.
    address : int, optional

    Raises
    ------
    ToolError
        If the tool cannot write a flash at an address.
    """
    tool, *options = shlex.split(loader)
    if address is None:
        # dfu-util names what follows.
        return [tool, *options, *(["-D"] if tool == "dfu-util" else []), str(file)]
    if tool != "openFPGALoader":
        raise ToolError(
            f"{tool}, which programs this board, cannot write to an address of its flash: leave "
            "out --flash, and send the stream over the serial port"
        )
    flags = [] if "-f" in options else ["-f"]
    # A Gowin FPGA may have a flash of its own, in which the design is.
    flags += ["--external-flash"] if any("tang" in option for option in options) else []
    return [tool, *options, *flags, "--file-type", "raw", "-o", hex(address), str(file)]


def program(
    loader: str,
    file: Path,
    stream: bytes | None = None,
    address: int | None = None,
    *,
    dry_run: bool = False,
) -> None:
    """Write a design to a board, or ``stream`` to ``address`` of its flash.

    The tool says itself how far it is.

    Parameters
    ----------
    loader : str
        As of `command`.
    file : Path
        The design.
    stream : bytes, optional
        What is written instead.
    address : int, optional
    dry_run : bool
        Only print the command.

    Raises
    ------
    ToolError
        If the tool is not installed, with how to install it, or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = file
        if stream is not None:
            written = Path(folder) / "stream.raw"
            written.write_bytes(stream)
        parts = command(loader, written, address)
        print(shlex.join(parts), flush=True)
        if dry_run:
            return
        if shutil.which(parts[0]) is None:
            raise ToolError(
                f"{parts[0]}, which programs this board, is not installed. {INSTALL[parts[0]]}"
            )
        done = subprocess.run(parts, check=False)
    if done.returncode:
        raise ToolError(
            f"{parts[0]} failed with code {done.returncode}: is the board plugged in, and may you "
            "use it (on Linux, udev rules of the tool)?"
        )
