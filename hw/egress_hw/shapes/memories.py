"""Memories of lanes of other shapes, read through the output register of a block RAM."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.memory import Memory

from egress_hw.bits import is_ecp5
from egress_hw.memories import ECP5_ADDRESS_BITS, ECP5_BYTE, ecp5_block
from egress_hw.signatures import WORD_BITS

PAIR_BITS = 2
PAIRS = WORD_BITS // PAIR_BITS

# No row is read while it is written; to promise more would cost LUTs and flops.
_ATTRIBUTES: Any = {"ram_style": "block", "no_rw_check": 1}


def read_pairs(
    m: Module,
    platform: object,
    *,
    address: Value,
    enable: Value,
    cycles: int,
    write: Value,
    write_address: Value,
    write_word: Value,
) -> Signal:
    """Make a memory that words are written to and pairs of bits are read from.

    Parameters
    ----------
    address : Value
        Of a pair: its word, and below that its place, the stream's earliest bits being place 0.
    enable : Value
        Of the registers that read data goes through, ``cycles`` of them, 1 or 2.
    write, write_address, write_word : Value

    Returns
    -------
    pair : Signal, 2 bits
        The earlier bit is the upper one.
    """
    pair = Signal(PAIR_BITS, reset_less=True)
    top = [write_word.word_select(PAIRS - 1 - n, PAIR_BITS) for n in range(PAIRS)]
    if is_ecp5(platform) and cycles == 2 and len(address) + 1 <= ECP5_ADDRESS_BITS:
        # A byte has a ninth bit, which pairs do not reach.
        bytes_ = [Cat(*top[at : at + 4], Const(0, 1)) for at in range(0, PAIRS, 4)]
        ecp5_block(
            m,
            "pairs",
            read=(PAIR_BITS, address, pair),
            write=(4 * ECP5_BYTE, write_address, Cat(*bytes_)),
            enables=(enable, write),
        )
        return pair
    m.submodules.pairs = memory = Memory(
        shape=PAIR_BITS, depth=1 << len(address), init=[], attrs=_ATTRIBUTES
    )
    for place, bits in enumerate(top):
        port = memory.write_port()
        m.d.comb += [port.en.eq(write), port.data.eq(bits)]
        m.d.comb += port.addr.eq(Cat(Const(place, 4), write_address))
    _read(m, memory, address, enable, cycles, pair)
    return pair


def read_rows(
    m: Module,
    platform: object,
    *,
    address: Value,
    enable: Value,
    cycles: int,
    write: Value,
    write_address: Value,
    write_row: Value,
) -> Signal:
    """Make a memory of rows, of a multiple of 9 bits each, as `read_pairs` does of words."""
    row = Signal(len(write_row), reset_less=True)
    if is_ecp5(platform) and cycles == 2 and len(address) + 3 <= ECP5_ADDRESS_BITS:
        for at in range(0, len(row), ECP5_BYTE):
            part = slice(at, at + ECP5_BYTE)
            ecp5_block(
                m,
                f"rows_{at}",
                read=(ECP5_BYTE, address, row[part]),
                write=(ECP5_BYTE, write_address, write_row[part]),
                enables=(enable, write),
            )
        return row
    m.submodules.rows = memory = Memory(
        shape=len(row), depth=1 << len(address), init=[], attrs=_ATTRIBUTES
    )
    port = memory.write_port()
    m.d.comb += [port.en.eq(write), port.data.eq(write_row), port.addr.eq(write_address)]
    _read(m, memory, address, enable, cycles, row)
    return row


def _read(
    m: Module, memory: Memory, address: Value, enable: Value, cycles: int, out: Signal
) -> None:
    port = memory.read_port(domain="comb")
    m.d.comb += port.addr.eq(address)
    value: Value = port.data
    for n in range(cycles - 1):
        register = Signal(len(out), name=f"{out.name}_{n}", reset_less=True)
        with m.If(enable):
            m.d.sync += register.eq(value)
        value = register
    with m.If(enable):
        m.d.sync += out.eq(value)
