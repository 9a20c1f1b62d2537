"""Serial port: 8 data bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from egress_hw.board.ports import out_from

BITS = 10
"""Of a character, with its start and stop bits."""

TOLERANCE = 0.02
"""Largest share by which a whole number of cycles a bit may be off the rate that was asked for."""

MIN_DIVISOR = 6


def divisor_of(clock_hz: float, baud: int) -> int:
    """Cycles of a bit.

    Raises
    ------
    ValueError
        If there are too few of them, or their rate is off by more than `TOLERANCE`.
    """
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR:
        raise ValueError(
            f"clock_hz must be at least {MIN_DIVISOR} times the baud rate {baud}, not {clock_hz:g}"
        )
    if abs(divisor * baud / clock_hz - 1) > TOLERANCE:
        raise ValueError(
            f"clock_hz must be a whole multiple of the baud rate {baud} within {TOLERANCE:.0%}, "
            f"not {clock_hz:g}"
        )
    return divisor


class Receiver(wiring.Component):
    """Receiver of characters, of which there is no way to hold one back.

    The line goes through two flops. A bit is what two of three samples around its middle say. A
    start bit that is high in its middle is none. After a character without a stop bit, the next one
    begins once the line was high.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, 6 or more.

    Members
    -------
    rx : In(1)
    byte : Out(8)
    valid : Out(1)
        For one cycle: there is a character, in ``byte``.
    broken : Out(1)
        For one cycle: there was one without a stop bit.
    """

    rx: Signal
    byte: Signal
    valid: Signal
    broken: Signal

    def __init__(self, divisor: int) -> None:
        if divisor < MIN_DIVISOR:
            raise ValueError(f"divisor must be at least {MIN_DIVISOR}, not {divisor!r}")
        self._divisor = divisor
        super().__init__({"rx": In(1), "byte": Out(8), "valid": Out(1), "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        samples = Signal(2, init=0b11)
        m.d.sync += samples.eq(Cat(line, samples))
        level = (line & samples[0]) | (line & samples[1]) | (samples[0] & samples[1])

        timer = Signal(range(self._divisor))
        left = Signal(range(BITS + 1))
        idle = Signal(init=1)
        due = timer == 0
        m.d.sync += [self.valid.eq(0), self.broken.eq(0)]
        with m.If(left == 0):
            # The start bit's middle, with the cycle in which it is noticed, and one to see that of
            # after its middle.
            m.d.sync += timer.eq(self._divisor // 2 - 1)
            with m.If(idle & ~line):
                m.d.sync += [left.eq(BITS), idle.eq(0)]
            with m.Elif(line):
                m.d.sync += idle.eq(1)
        with m.Else():
            m.d.sync += timer.eq(Mux(due, self._divisor - 1, timer - 1))
            with m.If(due):
                m.d.sync += left.eq(left - 1)
                with m.If(left == BITS):
                    with m.If(level):
                        m.d.sync += [left.eq(0), idle.eq(1)]
                with m.Elif(left == 1):
                    # The next start bit may have begun already.
                    m.d.sync += [self.valid.eq(level), self.broken.eq(~level), idle.eq(level)]
                with m.Else():
                    m.d.sync += self.byte.eq(Cat(self.byte[1:], level))
        return m


class Transmitter(wiring.Component):
    """Transmitter of characters, one after the other without a pause if they are there.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, 6 or more.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
    tx : Out(1)
        High where nothing is sent.
    """

    i: stream.Interface
    tx: Signal

    def __init__(self, divisor: int) -> None:
        if divisor < MIN_DIVISOR:
            raise ValueError(f"divisor must be at least {MIN_DIVISOR}, not {divisor!r}")
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": out_from(1, 1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self._divisor))
        left = Signal(range(BITS + 1))
        bits = Signal(BITS - 1, init=-1)
        m.d.comb += [self.tx.eq(bits[0]), self.i.ready.eq(left == 0)]
        with m.If(left == 0):
            m.d.sync += timer.eq(self._divisor - 1)
            with m.If(self.i.valid):
                m.d.sync += [bits.eq(Cat(0, self.i.payload)), left.eq(BITS)]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self._divisor - 1), left.eq(left - 1)]
                m.d.sync += bits.eq(Cat(bits[1:], 1))
        return m
