"""Searches and shifts, as trees of few LUTs, delays and copies."""

from typing import Any

from amaranth.hdl import (
    Cat,
    ClockSignal,
    Const,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
)


def find_one(bits: Value, following: Value) -> tuple[Value, Value, Value]:
    """Find the uppermost one of ``bits``, whose width is a power of two.

    ``following`` has for each of ``bits`` the one that comes after it.

    Returns
    -------
    none : Value
        Whether there is no one.
    count : Value
        Zeros above the one, if there is a one; its width is the base-2 logarithm of ``bits``'s.
    after : Value
        The bit that comes after the one, if there is a one.
    """
    if len(bits) == 1:
        return ~bits, Const(0, 0), following
    half = len(bits) // 2
    low_none, low_count, low_after = find_one(bits[:half], following[:half])
    high_none, high_count, high_after = find_one(bits[half:], following[half:])
    count = Cat(Mux(high_none, low_count, high_count), high_none)
    return low_none & high_none, count, Mux(high_none, low_after, high_after)


def leading_zeros(bits: Value) -> tuple[Value, Value]:
    """Count the zeros above the uppermost one: the first two of `find_one`."""
    none, count, _ = find_one(bits, Const(0, len(bits)))
    return none, count


def seek(bits: Value) -> tuple[Value, Value]:
    """Count the zeros above the uppermost one of 8 bits, in two LUTs' time.

    Returns
    -------
    count : Value
        3 bits; 7 if there is no one.
    none : Value
        Whether there is no one.
    """
    b = list(reversed([bits[n] for n in range(8)]))
    high = b[0] | b[1] | b[2] | b[3]
    second = ~b[0] & ~b[1] & (b[2] | b[3] | ~(b[4] | b[5]))
    fourth = b[3] | (~b[4] & (b[5] | ~b[6]))
    first = ~b[0] & (b[1] | (~b[2] & fourth))
    return Cat(first, second, ~high), ~(high | b[4] | b[5] | b[6] | b[7])


def shift_left(bits: Value, amount: Value, width: int, unit: int = 1) -> Value:
    """Return the uppermost ``width`` bits of ``bits << amount * unit``, the largest shift first."""
    for stage in reversed(range(len(amount))):
        distance = unit << stage
        moved = Cat(Const(0, distance), bits)[: len(bits)]
        bits = Mux(amount[stage], moved, bits)
        bits = bits[max(0, len(bits) - width - distance + unit) :]
    return bits[len(bits) - width :]


def shift_left_fast(
    m: Module,
    platform: object,
    name: str,
    bits: Value,
    amount: Value,
    width: int,
    unit: int = 1,
) -> Value:
    """Shift as `shift_left` does, by 2 or 3 bits of ``amount``, in one slice of LUTs if there is.

    On an ECP5 a slice's multiplexers join 4 LUTs without a wire between them. The tools find that
    only at a tenth more LUTs everywhere, so it is said here.
    """
    if not is_ecp5(platform):
        return shift_left(bits, amount, width, unit)
    outputs = Signal(width, name=name)
    for place in range(width):
        sources = [len(bits) - width + place - n * unit for n in range(1 << len(amount))]
        values = [bits[at] if at >= 0 else Const(0, 1) for at in sources]
        luts = Signal(len(values) // 2, name=f"{name}_{place}")
        for pair in range(len(luts)):
            m.submodules += Instance(
                "LUT4",
                p_INIT=Const(0b1100101011001010, 16),  # C ? B : A
                i_A=values[2 * pair],
                i_B=values[2 * pair + 1],
                i_C=amount[0],
                i_D=Const(0, 1),
                o_Z=luts[pair],
            )
        pairs = Signal(len(luts) // 2, name=f"{name}_{place}_pairs")
        for pair in range(len(pairs)):
            m.submodules += Instance(
                "PFUMX",
                i_ALUT=luts[2 * pair + 1],
                i_BLUT=luts[2 * pair],
                i_C0=amount[1],
                o_Z=pairs[pair],
            )
        if len(pairs) == 1:
            m.d.comb += outputs[place].eq(pairs)
        else:
            m.submodules += Instance(
                "L6MUX21", i_D0=pairs[0], i_D1=pairs[1], i_SD=amount[2], o_Z=outputs[place]
            )
    return outputs


def is_ecp5(platform: object) -> bool:
    """Whether a platform's device is an ECP5."""
    return getattr(platform, "family", None) == "ecp5"


def choose_late(
    m: Module, platform: object, name: str, late: Value, one: Value, two: Value
) -> Value:
    """Return bit ``two`` if both of the 2 bits of ``late`` are set, else bit ``one``.

    There is one LUT behind ``late``. Yosys likes to choose first and work out one of ``one`` and
    ``two`` then, but leaves a device's cells as they are, so on an ECP5 the LUT is named.
    """
    if not is_ecp5(platform):
        return Mux(late.all(), two, one)
    chosen = Signal(name=name)
    truth = sum((n >> 3 if n & 3 == 3 else n >> 2 & 1) << n for n in range(16))
    m.submodules += Instance(
        "LUT4",
        p_INIT=Const(truth, 16),
        i_A=late[0],
        i_B=late[1],
        i_C=one,
        i_D=two,
        o_Z=chosen,
    )
    return chosen


def later(m: Module, value: Any, cycles: int, name: str, *, resets: bool = False) -> Any:
    """Return a copy of a value some cycles later.

    With ``resets`` it is zero after a reset, else what the value was before.
    """
    for n in range(cycles):
        copy = Signal(value.shape(), name=f"{name}_{n + 1}", reset_less=not resets)
        m.d.sync += copy.eq(value)
        value = copy
    return value


def copies(
    m: Module, platform: object, value: Any, count: int, name: str, *, resets: bool = False
) -> list[Any]:
    """Return some copies of a value a cycle later, each in flip-flops of its own.

    With ``resets`` they are zero after a reset, else what the value was before.

    What has to reach a whole device is quicker if it leaves from several places. Yosys joins equal
    flip-flops even where they are to be kept, but not cells of a device, so on an ECP5 they are
    named.
    """
    found = []
    for number in range(count):
        copy = Signal(value.shape(), name=f"{name}_{number}", reset_less=not resets)
        found.append(copy)
        if not is_ecp5(platform):
            m.d.sync += copy.eq(value)
            continue
        given, taken = Value.cast(value), Value.cast(copy)
        for place in range(len(taken)):
            m.submodules += Instance(
                "TRELLIS_FF",
                p_GSR="DISABLED",
                p_CEMUX="1",
                p_CLKMUX="CLK",
                p_LSRMUX="LSR",
                p_REGSET="RESET",
                i_CLK=ClockSignal(),
                i_LSR=ResetSignal() if resets else Const(0, 1),
                i_DI=given[place],
                o_Q=taken[place],
            )
    return found
