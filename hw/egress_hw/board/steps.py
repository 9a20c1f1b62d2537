"""What to type for each board, as docs/boards.md has it.

python -m egress_hw.board.steps docs/boards.md writes it anew.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from egress.files import replacing
from egress.rates import replace_table
from egress_hw.board.packing import PACKING
from egress_hw.board.place import Setup
from egress_hw.board.platforms import SETUPS
from egress_hw.boards import board

BEGIN, END = "<!-- egress_hw.board.steps: begin -->", "<!-- egress_hw.board.steps: end -->"


def sections() -> str:
    """Write a section for each board; those that differ in the size of their device share one."""
    groups = groupby(SETUPS.values(), lambda place: re.sub(r"-\d+f$", "", place.name))
    return "\n".join(line for _, places in groups for line in _section(list(places)))


def _section(places: Sequence[Setup]) -> Iterator[str]:
    place = places[0]
    name, suffix = place.name, PACKING[board(place.name).family].suffix
    port = "a USB-serial adapter" if place.serial else place.port
    leds = f"LEDs at work, after an error: {place.leds}" if place.leds else "No LEDs"
    facts = [f"Serial port: {port}. {leds}. {_flash(place)}"] if place.fits else []
    if len(places) > 1:
        facts.append(f"Sizes: {', '.join(f'`{place.name}`' for place in places)}.")
    small = " --profile small" if place.buffer == "small" else ""
    yield f"### {place.title if len(places) == 1 else place.title.rpartition(' ')[0]}"
    yield ""
    yield from facts
    yield ""
    if before := place.before():
        yield from (f"* {line[0].upper()}{line[1:]}." for line in before)
        yield ""
    yield "```sh"
    if not place.fits:
        yield f"egress synth --board {name} -o build"
        yield "```"
        yield ""
        return
    yield f"egress compress model.safetensors -o model.egress.safetensors{small}"
    yield f"egress synth --board {name} -o build"
    yield f"egress board program build/{name}-*.{suffix}    # {place.loader}"
    yield "egress board verify model.egress.safetensors"
    yield "```"
    yield ""


def _flash(place: Setup) -> str:
    """Say whether a stream comes from the flash, and what becomes of the design."""
    if "-f" in place.loader.split():
        return "The design is kept in the flash, and a stream may be."
    if place.loader.startswith("dfu-util"):
        return "The design is kept in the flash; a stream gets there by another tool only."
    stays = "The design stays until the power is off"
    return f"{stays}; a stream may be in the flash." if place.flash else f"{stays}."


def write(document: Path) -> None:
    """Write the sections between their marks in a document."""
    text = replace_table(document.read_text(), f"\n{sections()}", document, (BEGIN, END))
    with replacing(document) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
