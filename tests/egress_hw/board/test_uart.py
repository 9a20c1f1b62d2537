import re
from itertools import pairwise

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_hw.board.uart import MIN_DIVISOR, Receiver, Transmitter, divisor_of

from ..streams import run_streams
from .cycles import run_cycles


def line(characters, cycles_a_bit, *, stop=1, before=3):
    """Levels of a line, a cycle each, where bits have ``cycles_a_bit`` on the average."""
    bits = [1] * before
    for character in characters:
        bits += [0, *(character >> at & 1 for at in range(8)), stop, *([1] if not stop else [])]
    bits += [1, 1]
    edges = [round(at * cycles_a_bit) for at in range(len(bits) + 1)]
    return [bit for bit, (a, b) in zip(bits, pairwise(edges), strict=True) for _ in range(b - a)]


def receive(levels, divisor):
    """Characters; None for one without a stop bit."""
    outputs = ("valid", "broken", "byte")
    seen = run_cycles(Receiver(divisor), [{"rx": level} for level in levels], outputs)
    return [byte if valid else None for valid, broken, byte in seen if valid or broken]


@pytest.mark.parametrize("divisor", [MIN_DIVISOR, 12, 27])
@pytest.mark.parametrize("off", [0.97, 1, 1.03])
def test_characters_are_received_at_a_rate_that_is_3_percent_off(divisor, off):
    characters = [0x00, 0xFF, 0x55, 0x7E, 0x80, 0x01]
    assert receive(line(characters, divisor * off), divisor) == characters


def test_a_spike_of_a_cycle_changes_nothing():
    levels = line([0xA5, 0x0F], 12)
    for at in range(0, len(levels), 7):
        levels_with_spike = [*levels]
        levels_with_spike[at] ^= 1
        assert receive(levels_with_spike, 12) == [0xA5, 0x0F]


def test_a_character_without_a_stop_bit_is_told():
    assert receive(line([0x33], 12, stop=0) + line([0x44], 12), 12) == [None, 0x44]


def test_a_line_that_stays_low_is_one_broken_character():
    assert receive([1] * 20 + [0] * 400 + line([0x12], 12), 12) == [None, 0x12]


class Loop(wiring.Component):
    """A transmitter wired to a receiver."""

    i: stream.Interface
    byte: Signal
    valid: Signal
    broken: Signal

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__(
            {"i": In(stream.Signature(8)), "byte": Out(8), "valid": Out(1), "broken": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        m.submodules.receiver = receiver = Receiver(self.divisor)
        wiring.connect(m, wiring.flipped(self.i), transmitter.i)
        m.d.comb += [
            receiver.rx.eq(transmitter.tx),
            self.byte.eq(receiver.byte),
            self.valid.eq(receiver.valid),
            self.broken.eq(receiver.broken),
        ]
        return m


@settings(max_examples=10, deadline=None)
@given(
    characters=st.lists(st.integers(0, 255), min_size=1, max_size=8),
    gaps=st.lists(st.integers(0, 100), max_size=4),
)
def test_what_is_sent_is_received(characters, gaps):
    dut = Loop(7)
    run = run_streams(
        dut, {"i": characters}, {}, gaps=gaps, deadline=400 + 200 * len(characters),
        watch=("valid", "byte", "broken"), extra=100,
    )  # fmt: skip
    bytes_at = dict(run.seen["byte"])
    assert [bytes_at.get(cycle, 0) for cycle, _ in run.seen["valid"]] == characters
    assert not run.seen["broken"]


def test_characters_follow_each_other_without_a_pause():
    run = run_streams(Loop(7), {"i": [1, 2, 3]}, {}, deadline=1000)
    first, second, third = run.cycles["i"]
    # A cycle in which the next one is taken is the end of the stop bit.
    assert second - first == third - second == 10 * 7 + 1


def test_rates_that_cannot_be_had_are_refused():
    assert divisor_of(12e6, 1_000_000) == 12
    with pytest.raises(
        ValueError, match=re.escape("clock_hz must be at least 6 times the baud rate 1000000, not")
    ):
        divisor_of(4e6, 1_000_000)
    with pytest.raises(ValueError, match=re.escape("whole multiple of the baud rate 1000000")):
        divisor_of(7.4e6, 1_000_000)
    for part in Receiver, Transmitter:
        with pytest.raises(ValueError, match=re.escape("divisor must be at least 6, not 5")):
            part(5)
