"""Multipliers with the registers that are inside a device's own, where it has some."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value

from egress_hw.bits import is_ecp5

_ECP5_FACTOR = 18
_ECP5_PRODUCT = 36


def multiply(
    m: Module,
    platform: object,
    name: str,
    number: Value,
    factor: Value,
    *,
    advance: Value,
    steady: bool = False,
) -> Signal:
    """Return the product of two numbers, two cycles later: registers are before it and behind.

    Both unsigned. Cycles are those with ``advance``. On an ECP5 the registers are the multiplier's
    own. nextpnr does not look at what is between them: that is less than the 3.9 ns that it gives a
    product without registers, 250 MHz.

    Parameters
    ----------
    name : str
        Of the multiplier, among the submodules.
    number, factor : Value
    advance : Value
    steady : bool
        Whether ``factor`` does not change while there is a number of which the product is wanted.
    """
    product = Signal(len(number) + len(factor), name=name, reset_less=True)
    if is_ecp5(platform) and max(len(number), len(factor)) <= _ECP5_FACTOR:
        m.submodules[name] = _ecp5_multiplier(number, factor, product, advance)
        return product
    held = Signal(len(number), name=f"{name}_number", reset_less=True)
    held_factor = Signal(len(factor), name=f"{name}_factor", reset_less=True)
    with m.If(advance):
        m.d.sync += held.eq(number)
        if not steady:
            m.d.sync += held_factor.eq(factor)
        m.d.sync += product.eq(held * (factor if steady else held_factor))
    return product


def _ecp5_multiplier(number: Value, factor: Value, product: Signal, advance: Value) -> Instance:
    """Make a MULT18X18D with registers before and behind it, and none between."""
    pins: dict[str, Value] = {}
    for port, value in (("A", number), ("B", factor)):
        for n in range(_ECP5_FACTOR):
            pins[f"i_{port}{n}"] = value[n] if n < len(value) else Const(0, 1)
    for n in range(min(_ECP5_PRODUCT, len(product))):
        pins[f"o_P{n}"] = product[n]
    clocked = {
        f"p_REG_{place}_{pin}": f"{pin}0"
        for place in ("INPUTA", "INPUTB", "OUTPUT")
        for pin in ("CLK", "CE", "RST")
    }
    return Instance(
        "MULT18X18D",
        **clocked,
        p_REG_PIPELINE_CLK="NONE",
        p_GSR="DISABLED",
        p_RESETMODE="SYNC",
        i_CLK0=ClockSignal(),
        i_CE0=advance,
        i_RST0=Const(0, 1),
        i_SIGNEDA=Const(0, 1),
        i_SIGNEDB=Const(0, 1),
        i_SOURCEA=Const(0, 1),
        i_SOURCEB=Const(0, 1),
        **pins,
    )
