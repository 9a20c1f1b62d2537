"""How the tools deal with each family of devices: their options, and what its cells are called."""

from dataclasses import dataclass

from egress_hw.boards import Board, Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One family's way through the tools.

    Parameters
    ----------
    nextpnr : str
        Key of `egress_hw.tools.TOOLS`.
    freq_mhz : float
        What placement aims at unless told otherwise.
    options : tuple of str
        For nextpnr, besides those that select the device.
    luts : dict
        Cells of yosys's netlist that take up LUTs, and how many.
    lut_outputs : tuple of str
        Ports of those cells by which a LUT may drive a flop.
    flop_data : str
        Port of a flop.
    flops, block_rams, dsps : tuple of str
        What names of such cells in the netlist begin with.
    placed_luts : dict
        Cells of nextpnr's report that take up LUTs, and how many.
    available : tuple of str
        Cells of the report of which the device's number tells how many LUTs, flops, block RAMs
        and DSPs it has.
    joined : bool
        A flop takes up the LUT beside it, unless that LUT drives it, and is counted as one.
    """

    nextpnr: str
    freq_mhz: float
    options: tuple[str, ...]
    luts: dict[str, int]
    lut_outputs: tuple[str, ...]
    flop_data: str
    flops: tuple[str, ...]
    block_rams: tuple[str, ...]
    dsps: tuple[str, ...]
    placed_luts: dict[str, int]
    available: tuple[str, str, str, str]
    joined: bool


FLOWS: dict[Family, Flow] = {
    "ecp5": Flow(
        nextpnr="nextpnr-ecp5",
        freq_mhz=200.0,
        options=("--lpf-allow-unconstrained",),
        luts={"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        lut_outputs=("Z",),
        flop_data="DI",
        flops=("TRELLIS_FF",),
        block_rams=("DP16KD", "PDPW16KD"),
        dsps=("MULT18X18D", "ALU54B"),
        placed_luts={"TRELLIS_COMB": 1},
        available=("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D"),
        joined=False,
    ),
    "ice40": Flow(
        nextpnr="nextpnr-ice40",
        freq_mhz=100.0,
        options=("--pcf-allow-unconstrained",),
        luts={"SB_LUT4": 1},
        lut_outputs=("O",),
        flop_data="D",
        flops=("SB_DFF",),
        block_rams=("SB_RAM40_4K",),
        dsps=("SB_MAC16",),
        placed_luts={"ICESTORM_LC": 1},
        available=("ICESTORM_LC", "ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP"),
        joined=True,
    ),
    "gowin": Flow(
        nextpnr="nextpnr-himbaechel-gowin",
        freq_mhz=100.0,
        options=("--vopt", "cst=pins.cst"),
        luts={"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        lut_outputs=("F", "SUM"),
        flop_data="D",
        flops=("DFF",),
        block_rams=("SP", "DP", "SDP"),
        dsps=("MULT", "ALU54", "PADD"),
        placed_luts={"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        # The smallest multiplier: an 8-bit level with a step of 8 bits needs no more.
        available=("LUT4", "DFF", "BSRAM", "MULT9X9"),
        joined=True,
    ),
    "nexus": Flow(
        nextpnr="nextpnr-nexus",
        freq_mhz=150.0,
        # The other router finds no way from the clock's pin in small designs.
        options=("--pdc", "pins.pdc", "--router", "router1"),
        luts={"LUT4": 1, "WIDEFN9": 2, "CCU2": 2, "DPR16X4": 6},
        lut_outputs=("Z",),
        flop_data="D",
        flops=("FD1P3",),
        block_rams=("DP16K", "PDP16K", "PDPSC16K", "DPSC512K", "PDPSC512K", "SP16K"),
        dsps=("MULT",),
        # The write side of distributed RAMs takes the place of two LUTs each.
        placed_luts={"OXIDE_COMB": 1, "RAMW": 2},
        available=("OXIDE_COMB", "OXIDE_FF", "OXIDE_EBR", "MULT9_CORE"),
        joined=False,
    ),
}


_FEW_RESETS = (
    "dfflegalize -minsrst 9 -cell $_DFF_?_ 01 -cell $_DFF_?P?_ r -cell $_SDFF_?P?_ r "
    "-cell $_DFFE_??_ 01 -cell $_DFFE_?P??_ r -cell $_SDFFE_?P??_ r -cell $_DLATCH_?_ x"
)
"""Flip-flops of an ECP5 as `synth_ecp5` has them, but for synchronous resets of less than nine.

A tile has two resets. Flip-flops with one of their own, such as yosys makes of a multiplexer with a
constant, are what a full device has no near place for: some came to lie across half of it.
"""


def synthesis_command(board: Board, top: str = "top") -> str:
    """Give yosys's command that synthesizes module ``top`` for the board's device."""
    # Wide multiplexers (-nowidelut: none) cost a lane a fifth of its LUTs on ECP5, and a naive
    # decoder half of them on Gowin, and gain no clock there.
    if board.family == "ecp5":
        synth = f"synth_ecp5 -top {top} -nowidelut -run"
        return f"{synth} begin:map_ffs; {_FEW_RESETS}; {synth} map_ffs:"
    if board.family == "gowin":
        kind = board.device.split("-")[0].lower()
        return f"synth_gowin -top {top} -family {kind} -nowidelut"
    if board.family == "nexus":
        # Carry chains of yosys 0.70 cannot be placed (YosysHQ/yosys#5639).
        return f"synth_nexus -top {top} -family lifcl -noccu2 -nowidelut"
    options = "-device u -dsp" if board.device == "up5k" else "-device hx"
    return f"synth_ice40 -top {top} {options}"


def pin_file(board: Board) -> tuple[str, str] | None:
    """Name and text of the constraints that put ``clk``, ``i`` and ``o`` on the board's pins."""
    if board.pins is None:
        return None
    pins = dict(zip(("clk", "i", "o"), board.pins, strict=True))
    if board.family == "gowin":
        return "pins.cst", "".join(f'IO_LOC "{port}" {pin};\n' for port, pin in pins.items())
    lines = (f"ldc_set_location -site {{{pin}}} [get_ports {port}]\n" for port, pin in pins.items())
    return "pins.pdc", "".join(lines)
