"""Block RAMs that are read through their own output register, where a device has one."""

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib.memory import Memory

from egress_hw.bits import is_ecp5
from egress_hw.signatures import WORD_BITS

PAIR_BITS = 2
PAIRS = WORD_BITS // PAIR_BITS

# No row is read while it is written; to promise more would cost LUTs and flops.
_ATTRIBUTES: Any = {"ram_style": "block", "no_rw_check": 1}

_ECP5_BLOCK_BITS = 14
_ECP5_BYTE = 9
_ECP5_DATA = 18


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
    if is_ecp5(platform) and cycles == 2 and len(address) + 1 <= _ECP5_BLOCK_BITS:
        # A byte has a ninth bit, which pairs do not reach.
        bytes_ = [Cat(*top[at : at + 4], Const(0, 1)) for at in range(0, PAIRS, 4)]
        _ecp5_block(
            m,
            "pairs",
            read=(PAIR_BITS, address, pair),
            write=(4 * _ECP5_BYTE, write_address, Cat(*bytes_)),
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
    if is_ecp5(platform) and cycles == 2 and len(address) + 3 <= _ECP5_BLOCK_BITS:
        for at in range(0, len(row), _ECP5_BYTE):
            part = slice(at, at + _ECP5_BYTE)
            _ecp5_block(
                m,
                f"rows_{at}",
                read=(_ECP5_BYTE, address, row[part]),
                write=(_ECP5_BYTE, write_address, write_row[part]),
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


def _ecp5_block(
    m: Module,
    name: str,
    *,
    read: tuple[int, Value, Value],
    write: tuple[int, Value, Value],
    enables: tuple[Value, Value],
) -> None:
    """One DP16KD: port A writes, port B reads; each of a width, at an address, data.

    Yosys never makes use of its output register, which is five nanoseconds faster.
    """
    ports: dict[str, Value] = {}
    width, write_address, written = write
    low = {_ECP5_BYTE: 3, 4 * _ECP5_BYTE: 5}[width]
    # Of a wide port, the lower address pins enable bytes.
    pins = Cat(Const(0b1111 if low == 5 else 0, low), write_address, Const(0, _ECP5_BLOCK_BITS))
    ports |= {f"i_ADA{n}": pins[n] for n in range(_ECP5_BLOCK_BITS)}
    data = Cat(written, Const(0, 2 * _ECP5_DATA))
    ports |= {f"i_DIA{n}": data[n] for n in range(_ECP5_DATA)}
    ports |= {f"i_DIB{n}": data[_ECP5_DATA + n] for n in range(_ECP5_DATA)}
    read_width, read_address, out = read
    low = {_ECP5_BYTE: 3, PAIR_BITS: 1}[read_width]
    pins = Cat(Const(0, low), read_address, Const(0, _ECP5_BLOCK_BITS))
    ports |= {f"i_ADB{n}": pins[n] for n in range(_ECP5_BLOCK_BITS)}
    ports |= {f"o_DOB{n}": out[n] for n in range(len(out))}
    ports |= {f"i_CS{port}{n}": Const(0, 1) for port in "AB" for n in range(3)}
    m.submodules[name] = Instance(
        "DP16KD",
        p_DATA_WIDTH_A=width,
        p_DATA_WIDTH_B=read_width,
        p_REGMODE_A="NOREG",
        p_REGMODE_B="OUTREG",
        p_RESETMODE="SYNC",
        p_ASYNC_RESET_RELEASE="SYNC",
        p_CSDECODE_A="0b000",
        p_CSDECODE_B="0b000",
        p_CLKAMUX="CLKA",
        p_CLKBMUX="CLKB",
        p_GSR="AUTO",
        i_CLKA=ClockSignal(),
        i_WEA=Const(1, 1),
        i_CEA=enables[1],
        i_OCEA=Const(0, 1),
        i_RSTA=Const(0, 1),
        i_CLKB=ClockSignal(),
        i_WEB=Const(0, 1),
        i_CEB=enables[0],
        i_OCEB=enables[0],
        i_RSTB=Const(0, 1),
        **ports,
    )
