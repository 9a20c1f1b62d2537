from itertools import product

import numpy as np
import pytest
from bitarray import bitarray, decodetree
from hypothesis import given
from hypothesis import strategies as st

from egress import BitstreamError, ExpGolomb, Reason
from egress.pack import codewords

# BackSlash (arXiv 2504.16968), Table 2: codewords of the symbols 0 to 9 for k = 0 to 5.
PAPER_TABLE_2 = {
    0: "1 010 011 00100 00101 00110 00111 0001000 0001001 0001010",
    1: "10 11 0100 0101 0110 0111 001000 001001 001010 001011",
    2: "100 101 110 111 01000 01001 01010 01011 01100 01101",
    3: "1000 1001 1010 1011 1100 1101 1110 1111 010000 010001",
    4: "10000 10001 10010 10011 10100 10101 10110 10111 11000 11001",
    5: "100000 100001 100010 100011 100100 100101 100110 100111 101000 101001",
}

every_code = [
    ExpGolomb(order, head) for order in (0, 1, 2, 3, 5, 8, 15) for head in (0, 1, 2, 4, 7, 15)
] + [
    ExpGolomb(order, head, first, half, first_half, swap)
    for order, head, first in ((0, 0, 0), (0, 3, 2), (3, 0, 0), (2, 5, 1), (4, 1, 6))
    for half, first_half, swap in product((False, True), repeat=3)
]


@pytest.mark.parametrize("order", PAPER_TABLE_2)
def test_codewords_are_those_of_the_papers_table_2(order):
    code = ExpGolomb(order)
    assert [code.codeword(symbol) for symbol in range(10)] == PAPER_TABLE_2[order].split()


@pytest.mark.parametrize("code", every_code, ids=str)
def test_an_independent_prefix_decoder_reads_what_the_code_writes(code):
    tree = decodetree({symbol: bitarray(code.codeword(symbol)) for symbol in range(256)})
    symbols = np.random.default_rng(0).integers(0, 256, 2000).tolist() + list(range(256))
    bits = bitarray("".join(code.codeword(symbol) for symbol in symbols))
    assert list(bits.decode(tree)) == symbols


@pytest.mark.parametrize("code", every_code, ids=str)
def test_decode_inverts_codeword_and_length_counts_its_bits(code):
    for symbol in range(256):
        codeword = code.codeword(symbol)
        assert len(codeword) == code.length(symbol)
        assert code.decode("01" + codeword + "1", 2) == (symbol, 2 + len(codeword))


@pytest.mark.parametrize("order", range(9))
def test_a_large_head_is_the_golomb_rice_code(order):
    code = ExpGolomb(order, head=15)
    for symbol in range(15 << order):
        if symbol < 256:
            suffix = f"{symbol & ((1 << order) - 1):0{order}b}" if order else ""
            assert code.codeword(symbol) == "0" * (symbol >> order) + "1" + suffix


@pytest.mark.parametrize("order", range(5))
def test_half_classes_are_the_golomb_code_of_divisor_three(order):
    # Golomb 1966: quotient in unary, remainder in truncated binary; ours inverts its first bit.
    code, divisor = ExpGolomb(order, head=15, half=True), 3 << order
    for symbol in range(15 * divisor)[:256]:
        quotient, rest = divmod(symbol, divisor)
        if rest < 1 << order:
            suffix = "1" + f"{rest:0{order + 1}b}"[1:]
        else:
            suffix = "0" + f"{rest - (1 << order):0{order + 1}b}"
        assert code.codeword(symbol) == "0" * quotient + "1" + suffix


def test_first_order_0_spends_one_bit_on_symbol_0_and_two_if_swapped():
    assert ExpGolomb(4, 9, first=0).codeword(0) == "1"
    assert ExpGolomb(4, 9, first=0).codeword(1) == "010000"
    assert ExpGolomb(4, 9, first=0, swap=True).codeword(0) == "01"
    assert ExpGolomb(4, 9, first=0, swap=True).codeword(1) == "10000"
    assert ExpGolomb(4, 9, first=0, swap=True).codeword(17) == "0010000"


nibble = st.integers(0, 15)
codes = st.builds(
    ExpGolomb, nibble, nibble, nibble, st.booleans(), st.booleans(), st.booleans(), st.just(16)
)


@given(codes, st.lists(st.integers(0, 65535), min_size=1))
def test_the_vectorised_codewords_equal_the_scalar_ones(code, symbols):
    values, lengths = codewords(
        code.order, code.head, np.array(symbols), code.first, code.swap, code.half, code.first_half
    )
    assert [f"{v:0{n}b}" for v, n in zip(values, lengths, strict=True)] == [
        code.codeword(symbol) for symbol in symbols
    ]


@given(codes, st.integers(0, 65535))
def test_a_symbol_is_its_codeword_as_a_number_plus_what_the_class_fixes(code, symbol):
    # FORMAT.md, section 4: what a hardware decoder computes.
    codeword = code.codeword(symbol)
    zeros = codeword.index("1")
    index, x = code.zeros(zeros), int(codeword, 2)
    offset = -code.size(0)
    if index:
        size = (3 if code.half else 1) << code.order
        offset = (min(index, code.head) - 2) * size + code.size(0)
    assert x + offset == symbol
    assert code.size(index) <= x < 2 * code.size(index)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1,), ValueError, "order must be within 0..15, not -1"),
        ((16,), ValueError, "order must be within 0..15, not 16"),
        ((0, 0, 16), ValueError, "first must be within 0..15, not 16"),
        ((0, 16), ValueError, "head must be within 0..15, not 16"),
        ((0, 0, 0, False, False, False, 0), ValueError, "symbol_width must be within 1..16, not 0"),
        ((1.5,), TypeError, "order must be an integer, not 1.5"),
        ((True,), TypeError, "order must be an integer, not True"),
    ],
)
def test_a_parameter_out_of_range_is_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        ExpGolomb(*arguments)
    assert str(caught.value) == message


def test_a_symbol_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"symbol must be within 0\.\.255, not 256"):
        ExpGolomb(0).codeword(256)


def test_a_truncated_codeword_names_its_offset():
    with pytest.raises(BitstreamError) as caught:
        ExpGolomb(0).decode("1" + "00010", 1)
    assert (caught.value.reason, caught.value.bit_offset) == (Reason.OVERRUN, 1)
    assert str(caught.value) == "overrun at bit 1 (byte 0): truncated codeword"


def test_a_prefix_too_long_for_the_symbol_width_is_refused():
    with pytest.raises(BitstreamError) as caught:
        ExpGolomb(0).decode("0" * 40 + "1" + "0" * 40)
    assert caught.value.reason is Reason.BAD_CODEWORD
