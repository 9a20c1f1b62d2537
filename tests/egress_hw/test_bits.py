import random

import pytest
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.sim import Simulator

from egress_hw.bits import choose_late, find_one, leading_zeros, seek, shift_left, shift_left_fast
from egress_hw.boards import board
from egress_hw.tools import ToolError, run


def evaluate(inputs, outputs, rows):
    """Values of ``outputs``, for each row of values of ``inputs``."""
    m = Module()
    found = [Signal(len(value)) for value in outputs]
    m.d.comb += [signal.eq(value) for signal, value in zip(found, outputs, strict=True)]
    results = []

    async def bench(ctx):
        for row in rows:
            for signal, value in zip(inputs, row, strict=True):
                ctx.set(signal, value)
            results.append(tuple(ctx.get(signal) for signal in found))

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def numbers(width, rng):
    """All of a few bits, some of more: of each number of leading zeros."""
    if width <= 8:
        return range(1 << width)
    return [0, 1, (1 << width) - 1, *(rng.getrandbits(width) >> rng.randrange(width + 1)
                                      for _ in range(400))]  # fmt: skip


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
def test_the_first_one_is_found_and_what_comes_after_it(width):
    rng = random.Random(width)
    bits, following = Signal(width), Signal(width)
    rows = [(number, rng.getrandbits(width)) for number in numbers(width, rng)]
    none, count, after = find_one(bits, following)
    assert len(count) == width.bit_length() - 1
    for (number, others), found in zip(
        rows, evaluate([bits, following], [none, count, after], rows), strict=True
    ):
        assert found[0] == (number == 0)
        if number:
            place = number.bit_length() - 1
            assert found[1:] == (width - 1 - place, others >> place & 1)


@pytest.mark.parametrize("width", [8, 16])
def test_leading_zeros_are_counted(width):
    bits = Signal(width)
    rows = [(number,) for number in numbers(width, random.Random(1))]
    for (number,), (none, count) in zip(
        rows, evaluate([bits], leading_zeros(bits), rows), strict=True
    ):
        assert none == (number == 0)
        assert none or count == width - number.bit_length()


def test_a_byte_is_sought_through():
    bits = Signal(8)
    rows = [(number,) for number in range(256)]
    assert evaluate([bits], seek(bits), rows) == [
        (min(7, 8 - number.bit_length()), number == 0) for (number,) in rows
    ]


@pytest.mark.parametrize(
    ("width", "amount_bits", "kept", "unit"),
    [(8, 3, 8, 1), (8, 3, 1, 1), (32, 1, 17, 8), (23, 3, 16, 1), (20, 4, 12, 1), (12, 4, 12, 2),
     (10, 4, 10, 1), (5, 0, 3, 1)],
)  # fmt: skip
def test_the_uppermost_bits_are_left_of_a_shift(width, amount_bits, kept, unit):
    rng = random.Random(width)
    bits, amount = Signal(width), Signal(amount_bits)
    rows = [(rng.getrandbits(width), rng.randrange(1 << amount_bits)) for _ in range(200)]
    found = evaluate([bits, amount], [shift_left(bits, amount, kept, unit)], rows)
    for (number, by), (result,) in zip(rows, found, strict=True):
        assert result == (number << by * unit) % (1 << width) >> width - kept


def test_of_what_is_known_beforehand_the_lowest_bits_are_shifted_up():
    # As a lane takes a codeword's bits: from above zeros.
    bits, amount = Signal(6), Signal(3)
    shifted = shift_left(Cat(bits, Const(0, 6)), amount, 6)
    rows = [(number, by) for number in range(64) for by in range(7)]
    found = evaluate([bits, amount], [shifted], rows)
    assert found == [(number >> 6 - by,) for number, by in rows]


def prove_equal(work, m, inputs, cells_give, must_give):
    """Whether yosys's models of an ECP5's cells give what they must, for all inputs."""
    same = Signal()
    m.d.comb += same.eq(cells_give == must_give)
    (work / "cells.il").write_text(rtlil.convert(m, ports=[*inputs, same]))
    cells = "read_verilog +/lattice/common_sim.vh"
    prove = "hierarchy -top top; proc; flatten; opt_clean; sat -verify -prove same 1"
    run("yosys", ["-q", "-p", f"read_rtlil cells.il; {cells}; {prove}"], work=work)


def prove_fast_shift(work, amount_bit):
    m = Module()
    bits, amount = Signal(17), Signal(3)
    fast = shift_left_fast(m, board("ulx3s-85f"), "fast", bits, amount ^ amount_bit, 10)
    prove_equal(work, m, [bits, amount], fast, shift_left(bits, amount, 10))


def test_the_fast_shift_of_an_ecp5_shifts(tmp_path):
    prove_fast_shift(tmp_path, 0)


def test_a_wrong_fast_shift_is_refuted(tmp_path):
    with pytest.raises(ToolError):
        prove_fast_shift(tmp_path, 1)


def test_the_late_choice_of_an_ecp5_chooses(tmp_path):
    m = Module()
    late, one, two = Signal(2), Signal(), Signal()
    chosen = choose_late(m, board("ulx3s-85f"), "chosen", late, one, two)
    prove_equal(tmp_path, m, [late, one, two], chosen, Mux(late == 3, two, one))
