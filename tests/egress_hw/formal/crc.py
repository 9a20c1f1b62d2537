"""The CRC of words equals its definition, bit by bit."""

from typing import Any

from amaranth.hdl import Cat, Mux, Signal

from egress_hw import loader
from egress_hw.formal import Bench, Unbounded
from tests.egress_hw.formal.catalogue import Proof, mutated

POLYNOMIAL = 0x1021


def serial(state, word):
    """CRC-16/IBM-3740 after the bits of a word, the highest first."""
    for bit in reversed(range(len(word))):
        feedback = state[15] ^ word[bit]
        state = Cat(0, state[:15]) ^ Mux(feedback, POLYNOMIAL, 0)
        state = state[:16]
    return state


def byte(module: Any = loader) -> Bench:
    bench = Bench()
    crc = bench.before(bench.free("crc", 16), "state")
    given = bench.before(bench.free("byte", 8), "given")
    found, defined = Signal(16), Signal(16)
    bench.m.d.comb += [found.eq(module.crc_after(crc, given)), defined.eq(serial(crc, given))]
    bench.claim("a byte is eight steps of the definition", found == defined)
    return bench


def linear(module: Any = loader) -> Bench:
    bench = Bench()
    states = [bench.before(bench.free(f"crc_{n}", 16), f"state_{n}") for n in range(2)]
    given = [bench.before(bench.free(f"byte_{n}", 8), f"given_{n}") for n in range(2)]
    both, sums = Signal(16), Signal(16)
    bench.m.d.comb += both.eq(
        module.crc_after(states[0], given[0]) ^ module.crc_after(states[1], given[1])
    )
    bench.m.d.comb += sums.eq(module.crc_after(states[0] ^ states[1], given[0] ^ given[1]))
    bench.claim("the CRC of a sum is the sum of the CRCs", both == sums)
    return bench


def checker(module: Any = loader) -> Bench:
    """A word a cycle: four bytes, of which `byte` tells that they are the definition's."""
    bench = Bench()
    dut = bench.add("checker", module.WordChecker(pipelined=False))
    crc, expected = Signal(16), Signal(16)
    with bench.m.If(dut.valid):
        state = Mux(dut.start, 0xFFFF, crc)
        for given in (dut.word[24:], dut.word[16:24], dut.low[8:], dut.low[:8]):
            state = loader.crc_after(state, given)
        bench.m.d.sync += crc.eq(state)
        with bench.m.If(dut.field):
            bench.m.d.sync += expected.eq(dut.word[:16])
    bench.watch("crc", crc)
    bench.watch("intact", dut.intact)
    bench.claim("intact tells whether the CRC is that given", dut.intact == (crc == expected))
    return bench


def wrong(changes: dict[str, str]) -> Any:
    return mutated("egress_hw.loader", changes)


def wrong_byte() -> Bench:
    return byte(wrong({"^ (mixed << 5) ": ""}))


PROOFS = [
    Proof(
        "a byte's CRC equals the definition, bit by bit",
        "loader.crc_after",
        Unbounded(),
        byte,
        {"a tap is missing": wrong_byte},
    ),
    Proof(
        "it is linear, as computing it in stages needs",
        "loader.crc_after",
        Unbounded(),
        linear,
        {"bits are lost": lambda: linear(wrong({"mixed ^ mixed[4:]": "mixed | mixed[4:]"}))},
    ),
    Proof(
        "a segment's CRC is that of its words' bytes, and is compared with its field",
        "loader.WordChecker(pipelined=False)",
        Unbounded(("scorr",)),
        checker,
        {
            "it begins with 0": lambda: checker(
                wrong({"Mux(start, 0xFFFF, crc)": "Mux(start, 0, crc)"})
            )
        },
    ),
]
