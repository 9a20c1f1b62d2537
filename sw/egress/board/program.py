"""Putting a design on a board, or a stream into its flash, by the tools that others made for it."""

import shlex
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path
from zlib import crc32

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


def command(
    loader: str, file: Path, address: int | None = None, cable: str | None = None
) -> list[str]:
    """Make the command that writes a file.

    Parameters
    ----------
    loader : str
        Tool and options that choose the board.
    file : Path
        A design; or with ``address`` anything, for the flash.
    address : int, optional
    cable : str, optional
        Adapter of openFPGALoader's, in place of the one on the board.

    Raises
    ------
    ToolError
        If the tool cannot write a flash at an address, or knows no cables.
    """
    tool, *options = shlex.split(loader)
    if tool == "dfu-util":
        if address is not None:
            raise ToolError(
                "dfu-util, which programs this board, cannot write to an address of its flash: "
                "leave out --flash, and send the stream over the serial port"
            )
        if cable:
            raise ToolError(
                "dfu-util, which programs this board, knows no cables: leave out --cable"
            )
        return [tool, *options, "-D", str(file)]
    # Of two cables, openFPGALoader takes the last one.
    options += ["-c", cable] if cable else []
    if address is None:
        return [tool, *options, str(file)]
    flags = [] if "-f" in options else ["-f"]
    # A Gowin FPGA may have a flash of its own, in which the design is.
    flags += ["--external-flash"] if any("tang" in option for option in options) else []
    return [tool, *options, *flags, "--file-type", "raw", "-o", hex(address), str(file)]


def with_suffix(data: bytes, loader: str) -> bytes:
    """Add to a file for dfu-util what says which device it is for, if it is not there.

    That is the suffix of the standard (USB Device Firmware Upgrade 1.1, appendix B), without which
    dfu-util warns; it takes it off again.
    """
    if data[-8:-5] == b"UFD":
        return data
    options = shlex.split(loader)
    vendor, product = (int(text, 16) for text in options[options.index("-d") + 1].split(":"))
    any_release, version = 0xFFFF, 0x0100
    data += struct.pack("<4H3sB", any_release, product, vendor, version, b"UFD", 16)
    return data + struct.pack("<I", crc32(data) ^ 0xFFFFFFFF)


def program(
    loader: str,
    file: Path,
    stream: bytes | None = None,
    address: int | None = None,
    *,
    cable: str | None = None,
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
    cable : str, optional
        As of `command`.
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
        elif loader.startswith("dfu-util"):
            written = Path(folder) / f"{file.stem}.dfu"
            written.write_bytes(with_suffix(file.read_bytes(), loader))
        parts = command(loader, written, address, cable)
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
    if stream is not None and "-f" not in shlex.split(loader):
        print("the FPGA has lost its design meanwhile: program it (again)", flush=True)
