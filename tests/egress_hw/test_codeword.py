import random

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import BitstreamError, ExpGolomb
from egress_hw.codeword import CodewordDecoder


def decode_windows(cases):
    """Decode `(window, order, head, raw)` each, to `(zeros, length, symbol or None)`."""
    dut = CodewordDecoder()
    results = []

    async def bench(ctx):
        for window, order, head, raw in cases:
            ctx.set(dut.window, window)
            ctx.set(dut.order, order)
            ctx.set(dut.head, head)
            ctx.set(dut.raw, raw)
            await ctx.delay(1e-9)
            symbol = None if ctx.get(dut.bad) else ctx.get(dut.symbol)
            results.append((ctx.get(dut.zeros), ctx.get(dut.length), symbol))

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
    return results


def expect(window, order, head, raw):
    bits = f"{window:032b}"
    if raw:
        return 0, order + 1, int(bits[: order + 1], 2)
    code = ExpGolomb(order, head, symbol_width=16)
    zeros, end = code.extent(bits)
    try:
        return zeros, end, code.decode(bits)[0]
    except BitstreamError:
        return zeros, end, None


def window_of(codeword, filler):
    """The codeword and some of `filler`, as far as they fit the window."""
    return int((codeword + f"{filler:032b}")[:32], 2)


@pytest.mark.parametrize("order", range(16))
@pytest.mark.parametrize("raw", [0, 1])
def test_every_number_of_zeros_and_every_head_is_decoded(order, raw):
    rng = random.Random(order)
    cases = [
        ((1 << 31 >> zeros) | rng.getrandbits(31 - zeros if zeros < 31 else 0), order, head, raw)
        for zeros in range(32)
        for head in ([0] if raw else range(16))
    ]
    cases += [(0, order, 0, raw), (0, order, 15 * (1 - raw), raw)]
    assert decode_windows(cases) == [expect(*case) for case in cases]


@pytest.mark.parametrize(("order", "head"), [(0, 0), (2, 0), (1, 3), (3, 15), (7, 1), (15, 0)])
def test_every_8_bit_symbol_is_decoded(order, head):
    code = ExpGolomb(order, head, symbol_width=16)
    cases = []
    for symbol in range(256):
        codeword = code.codeword(symbol)
        if len(codeword) <= 32:
            cases.append((window_of(codeword, 0x9E3779B9 * (symbol + 1) % 2**32), order, head, 0))
    assert decode_windows(cases) == [expect(*case) for case in cases]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(0, 2**32 - 1),
                st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 31)).map(
                    lambda pair: pair[0] >> pair[1]
                ),
            ),
            st.integers(0, 15),
            st.integers(0, 15),
            st.just(0),
        ),
        min_size=1,
    )
)
def test_any_window_is_decoded_or_refused_as_in_software(cases):
    assert decode_windows(cases) == [expect(*case) for case in cases]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 15), st.integers(0, 15), st.lists(st.integers(0, 65535), min_size=1))
def test_16_bit_symbols_are_decoded_wherever_the_window_holds_them(order, head, symbols):
    code = ExpGolomb(order, head, symbol_width=16)
    codewords = [code.codeword(symbol) for symbol in symbols]
    cases = [(window_of(c, 0xFFFFFFFF), order, head, 0) for c in codewords]
    for (_, length, symbol), wanted, codeword in zip(
        decode_windows(cases), symbols, codewords, strict=True
    ):
        assert length == len(codeword)
        assert symbol == (wanted if length <= 32 else None)
