"""Block RAMs read through their own output register, where a device has one; delays in LUT RAM."""

from typing import Any

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib.memory import Memory

from egress_hw.bits import is_ecp5, later

# No word is read while it is written; to promise more would cost LUTs and flops.
_UNCHECKED: Any = {"no_rw_check": 1}
_BLOCK: Any = {"ram_style": "block", **_UNCHECKED}
_IN_LUTS: Any = {"ram_style": "distributed", **_UNCHECKED}

ECP5_ADDRESS_BITS = 14
ECP5_BYTE = 9
_ECP5_DATA = 18
# Lower address pins that a port has no use for, by its width; of a wide one they enable bytes.
_ECP5_LOW = {2: 1, ECP5_BYTE: 3, 2 * ECP5_BYTE: 4, 4 * ECP5_BYTE: 5}
_ECP5_ENABLES = {2: 0, ECP5_BYTE: 0, 2 * ECP5_BYTE: 0b0011, 4 * ECP5_BYTE: 0b01111}


def later_by_turn(m: Module, value: Any, cycles: int, turns: Any, name: str) -> Any:
    """Return a copy of a value some cycles later, from where it costs least.

    With more than 4 turns that is LUT RAM: four bits take up six LUTs, and no more flip-flops than
    four, however long they wait.

    Parameters
    ----------
    cycles : int
        0 to as many as there are turns; 2 or more with more than 4 turns.
    turns : amaranth.lib.data.View
        Array of numbers, each of which was the one before it a cycle ago, round and round.
    """
    if len(turns) <= 4:
        return later(m, value, cycles, name)
    m.submodules[name] = memory = Memory(
        shape=value.shape(), depth=len(turns), init=[], attrs=_IN_LUTS
    )
    write, read = memory.write_port(), memory.read_port(domain="comb")
    m.d.comb += [write.en.eq(1), write.addr.eq(turns[0]), Value.cast(write.data).eq(value)]
    m.d.comb += read.addr.eq(turns[cycles - 1])
    return later(m, read.data, 1, name)


def read_block(
    m: Module,
    platform: object,
    name: str,
    *,
    shape: Any,
    cycles: int,
    address: Value,
    write: Value,
    write_address: Value,
    written: Any,
) -> Any:
    """Make a block RAM and return what it holds at an address, some cycles later.

    Parameters
    ----------
    name : str
        Of the memory, among the submodules.
    shape : ShapeLike
        Of a row.
    cycles : int
        1, or 2 to read through the output register of the device's block RAM if it is known here
        (ECP5), else through flip-flops.
    address, write, write_address, written : Value
        No row may be read in the cycle in which it is written.
    """
    bits = Value.cast(written)
    width = 2 * ECP5_BYTE if len(bits) <= 2 * ECP5_BYTE else 4 * ECP5_BYTE
    fits = len(bits) <= width and len(address) + _ECP5_LOW[width] <= ECP5_ADDRESS_BITS
    if is_ecp5(platform) and cycles == 2 and fits:
        row: Any = Signal(shape, name=f"{name}_row", reset_less=True)
        read = Signal(width, name=f"{name}_read", reset_less=True)
        m.d.comb += Value.cast(row).eq(read)
        ecp5_block(
            m,
            name,
            read=(width, address, read),
            write=(width, write_address, bits),
            enables=(Const(1, 1), write),
        )
        return row
    data = _inferred(m, name, shape, address, write, write_address, written, _BLOCK)
    return later(m, data, cycles, name)


def queue_block(
    m: Module,
    platform: object,
    name: str,
    *,
    shape: Any,
    fetch: Value,
    address: Value,
    give: Value,
    write: Value,
    write_address: Value,
    written: Any,
) -> Any:
    """Make a block RAM with two rows before it: return the one that is shown.

    Where the device's block RAM is known here (ECP5), both are its own registers.

    Parameters
    ----------
    name : str
        Of the memory, among the submodules.
    shape : ShapeLike
        Of a row.
    fetch, address : Value
        When the row behind the one that is shown is read, and where.
    give : Value
        When that one is shown.
    write, write_address, written : Value
        No row may be read in the cycle in which it is written.
    """
    row: Any = Signal(shape, name=f"{name}_row", reset_less=True)
    bits, wide = Value.cast(written), 4 * ECP5_BYTE
    if is_ecp5(platform) and len(address) + _ECP5_LOW[wide] <= ECP5_ADDRESS_BITS:
        parts = []
        for number, start in enumerate(range(0, len(bits), wide)):
            part = Signal(wide, name=f"{name}_{number}", reset_less=True)
            ecp5_block(
                m,
                f"{name}_{number}",
                read=(wide, address, part),
                write=(wide, write_address, bits[start : start + wide]),
                enables=(fetch, write),
                show=give,
            )
            parts.append(part)
        m.d.comb += Value.cast(row).eq(Cat(parts))
        return row
    data = _inferred(m, name, shape, address, write, write_address, written, _UNCHECKED)
    front = Signal(shape, name=f"{name}_front", reset_less=True)
    with m.If(fetch):
        m.d.sync += front.eq(data)
    with m.If(give):
        m.d.sync += row.eq(front)
    return row


def _inferred(
    m: Module,
    name: str,
    shape: Any,
    address: Value,
    write: Value,
    write_address: Value,
    written: Any,
    attrs: Any,
) -> Any:
    """Make a memory and return what it holds at an address, for a register to take."""
    m.submodules[name] = memory = Memory(shape=shape, depth=1 << len(address), init=[], attrs=attrs)
    port: Any = memory.write_port()
    m.d.comb += [port.en.eq(write), port.addr.eq(write_address), port.data.eq(written)]
    port = memory.read_port(domain="comb")
    m.d.comb += port.addr.eq(address)
    return port.data


def ecp5_block(
    m: Module,
    name: str,
    *,
    read: tuple[int, Value, Value],
    write: tuple[int, Value, Value],
    enables: tuple[Value, Value],
    show: Value | None = None,
) -> None:
    """Make a DP16KD: port A writes, port B reads, through its output register.

    Of each a width in bits, an address, and data: 2, 9, 18 or 36 bits wide, 36 only both of them.
    ``enables`` are those of reading and writing; the output register goes on with ``show``, or with
    each reading. Yosys never makes use of that register, which is five nanoseconds faster.
    """
    ports: dict[str, Value] = {}
    width, write_address, written = write
    pins = _pins(width, write_address)
    ports |= {f"i_ADA{n}": pins[n] for n in range(ECP5_ADDRESS_BITS)}
    data = Cat(written, Const(0, 2 * _ECP5_DATA))
    ports |= {f"i_DIA{n}": data[n] for n in range(_ECP5_DATA)}
    ports |= {f"i_DIB{n}": data[_ECP5_DATA + n] for n in range(_ECP5_DATA)}
    read_width, read_address, out = read
    pins = _pins(read_width, read_address)
    ports |= {f"i_ADB{n}": pins[n] for n in range(ECP5_ADDRESS_BITS)}
    # What is wider than a port comes out of both, the lower half of port A.
    low = out[:_ECP5_DATA] if read_width > _ECP5_DATA else Const(0, 0)
    ports |= {f"o_DOA{n}": low[n] for n in range(len(low))}
    high = out[len(low) :]
    ports |= {f"o_DOB{n}": high[n] for n in range(len(high))}
    ports |= {f"i_CS{port}{n}": Const(0, 1) for port in "AB" for n in range(3)}
    shown = enables[0] if show is None else show
    m.submodules[name] = Instance(
        "DP16KD",
        p_DATA_WIDTH_A=width,
        p_DATA_WIDTH_B=read_width,
        p_REGMODE_A="OUTREG" if len(low) else "NOREG",
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
        i_OCEA=shown if len(low) else Const(0, 1),
        i_RSTA=Const(0, 1),
        i_CLKB=ClockSignal(),
        i_WEB=Const(0, 1),
        i_CEB=enables[0],
        i_OCEB=shown,
        i_RSTB=Const(0, 1),
        **ports,
    )


def _pins(width: int, address: Value) -> Value:
    """Return a port's address pins."""
    return Cat(Const(_ECP5_ENABLES[width], _ECP5_LOW[width]), address, Const(0, ECP5_ADDRESS_BITS))
