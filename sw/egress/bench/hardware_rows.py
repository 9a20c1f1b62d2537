"""Designs whose size and clock are measured, and the devices that they are placed on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from amaranth.lib import wiring

from egress.setting import Mode
from egress_hw.core import Core, lane_geometry, suited
from egress_hw.geometry import Geometry
from egress_hw.intake import BUS_BITS
from egress_hw.lane import Lane
from egress_hw.shapes import AllOffsets, FewBits
from egress_hw.signatures import MANY_LANES, Output
from egress_hw.yardsticks import BitSerialDecoder, NaiveDecoder

LARGE_MHZ = 135.0
"""What their placement aims at: if at more, too many wires are short of time, and the router does
not come to an end."""

BITS_PER_WEIGHT = 2.64
"""Of the code at which a decoder whose rate depends on it is stated."""

FEW_BITS_RATE = {1: 0.708, 2: 0.693}
ALL_OFFSETS_RATE = 6.03
"""Weights a cycle of other shapes on a stream of as many bits (`egress_hw.shapes.simulate`)."""

DEVICES = {
    "ulx3s-85f": "ECP5-85F",
    "hx8k-evn": "iCE40 HX8K",
    "icebreaker": "iCE40 UP5K",
    "tang-nano-9k": "Gowin GW1NR-9",
    "tang-primer-20k": "Gowin GW2A-18",
    "crosslink-nx-evn": "Nexus LIFCL-40",
}
"""Devices of the rows, by a board that has them."""

LARGE = "ulx3s-85f"
"""That for which large cores are made."""

CONTEXTS = dict.fromkeys(DEVICES, 4) | {"icebreaker": 2}
"""Segments that a lane decodes in turn: fewer where cells are scarcer than nanoseconds. Large cores
have what `egress_hw.core.suited` tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One design on one device.

    Parameters
    ----------
    group : str
        One of `GROUPS`.
    name : str
    board : str
        Key of `DEVICES`.
    factory : callable
        Makes the component.
    lanes : int or None
        Of a core.
    weights_per_cycle : float
    full_rate_bits : float or None
        Bits a weight up to which the bus keeps the lanes busy; None if there is no bus.
    freq_mhz : float or None
        What placement aims at, if not at the family's default.
    """

    group: str
    name: str
    board: str
    factory: Callable[[], wiring.Component]
    lanes: int | None = None
    weights_per_cycle: float = 1.0
    full_rate_bits: float | None = None
    freq_mhz: float | None = None


def core(board_name: str, lanes: int) -> Row:
    """Row of a whole core: all modes, 8-bit levels, bfloat16 output, the small profile.

    A large one gives levels and is for streams of the tiny profile.
    """
    bus, contexts, profile = bus_bits(lanes), CONTEXTS[board_name], "small"
    output: Output = "bfloat16"
    name = f"core, {lanes} lane{'s' if lanes > 1 else ''}, bus {bus}"
    if lanes > MANY_LANES:
        contexts, profile = suited(lanes)
        output, name = "level", f"{name}, levels"
    return Row(
        group="core",
        name=f"{name}, {contexts} contexts",
        board=board_name,
        factory=lambda: Core(lanes, output, 8, profile, bus=bus, contexts=contexts),
        lanes=lanes,
        weights_per_cycle=lanes,
        full_rate_bits=bus / lanes,
        freq_mhz=LARGE_MHZ if lanes > MANY_LANES else None,
    )


def bus_bits(lanes: int) -> int:
    """Bus that suits ``lanes``: 8 bits a weight or more, if there is one."""
    return next((bus for bus in BUS_BITS if bus >= 8 * lanes), BUS_BITS[-1])


def lane(board_name: str, modes: frozenset[Mode], name: str, large: bool = False) -> Row:
    """Row of a lane alone, with its memory of segments, for levels of 8 bits.

    If ``large``, as large cores have it.
    """
    geometry = Geometry(CONTEXTS[board_name])
    if large:
        lanes = MANY_LANES + 1
        contexts, profile = suited(lanes)
        geometry = lane_geometry(lanes, 8, profile, contexts)
    return Row(
        group="lane",
        name=f"lane, {name}, {geometry.contexts} contexts",
        board=board_name,
        factory=lambda: Lane(geometry, 8, modes),
    )


def yardsticks(board_name: str) -> list[Row]:
    """Rows of both yardsticks."""
    bits = f"bit-serial, at {BITS_PER_WEIGHT} bits a weight"
    return [
        Row(group="yardstick", name="naive", board=board_name, factory=NaiveDecoder),
        Row(
            group="yardstick",
            name=bits,
            board=board_name,
            factory=BitSerialDecoder,
            weights_per_cycle=1 / BITS_PER_WEIGHT,
        ),
    ]


def shapes(board_name: str) -> list[Row]:
    """Rows of lanes of other shapes, at their rate on the reference stream."""
    few = [
        Row(
            group="shape",
            name=f"two bits a cycle, {contexts} context{'s' if contexts > 1 else ''}",
            board=board_name,
            factory=lambda contexts=contexts: FewBits(contexts),
            weights_per_cycle=rate,
        )
        for contexts, rate in FEW_BITS_RATE.items()
    ]
    offsets = Row(
        group="shape",
        name="all offsets of 16 bits",
        board=board_name,
        factory=AllOffsets,
        weights_per_cycle=ALL_OFFSETS_RATE,
    )
    return [*few, offsets]


LANES = (1, 4, 16, 64)
GROUPS = ("yardstick", "lane", "shape", "core")


def rows(*, short: bool = False, lanes: Sequence[int] | None = None) -> list[Row]:
    """Rows of the benchmark; the short form has one device, one lane and one core.

    ``lanes`` are those of the cores, by default `LANES`.
    """
    lanes = lanes or (LANES[:1] if short else LANES)
    devices = ("ulx3s-85f",) if short else tuple(DEVICES)
    found = []
    for name in devices:
        found += yardsticks(name)
        found.append(lane(name, frozenset({Mode.PLAIN}), "plain mode"))
        if not short:
            found.append(lane(name, frozenset(Mode), "all modes"))
            if name == LARGE:
                found.append(lane(name, frozenset(Mode), "all modes", large=True))
            found += shapes(name)
        found += [core(name, number) for number in lanes]
    return found
