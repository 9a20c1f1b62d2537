import random
import re
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Mode, Reason, Setting
from egress.reference import encode_segment
from egress_hw.lane import Lane
from egress_hw.model import decode_payload
from egress_hw.signatures import SettingLayout

from ..egress.strategies import levels_for, settings_of
from .streams import run_streams

RUN_MODES = (Mode.ZERO_RUN, Mode.JOINT)
waits = st.lists(st.integers(0, 4), max_size=6)


@dataclass
class Piece:
    """A segment for a lane: `bits` is whole words."""

    setting: Setting
    level_bits: int
    weights: int
    bits: str
    damaged: bool = False

    @property
    def words(self):
        if self.damaged:
            return []
        return [int(self.bits[at : at + 32], 2) for at in range(0, len(self.bits), 32)]

    def payload(self):
        return {
            "setting": SettingLayout.from_bits(self.setting.pack()),
            "wide": self.level_bits == 16,
            "weights": self.weights,
            "words": len(self.words),
            "damaged": self.damaged,
            "last": 0,
        }

    def expected(self):
        """`(level, error)` of each beat, and the fault."""
        if self.damaged:
            return [(0, 1)] * self.weights, 0
        payload = int(self.bits, 2).to_bytes(len(self.bits) // 8, "big")
        levels, reason = decode_payload(payload, self.weights, self.setting, self.level_bits)
        if reason is Reason.BAD_PADDING:
            assert len(levels) == self.weights
        errors = [(0, 1)] * (self.weights - len(levels))
        return [(level, 0) for level in levels] + errors, int(reason or 0)


def pad(bits):
    return bits.ljust(-(-max(len(bits), 1) // 32) * 32, "0")


def piece_of(levels, setting, level_bits=8, **options):
    return Piece(
        setting,
        level_bits,
        len(levels),
        pad(encode_segment(levels, setting, level_bits)),
        **options,
    )


def decode(pieces, *, dut=None, max_level_bits=8, gaps=(), stalls=()):
    """Decode in a lane and check beats and faults against the reference; returns the run."""
    dut = dut or Lane(max_level_bits)
    words = [word for piece in pieces for word in piece.words]
    weights = sum(piece.weights for piece in pieces)
    pause = 5 + max([0, *gaps]) + max([0, *stalls])
    run = run_streams(
        dut,
        {"segment": [piece.payload() for piece in pieces], "words": words},
        {"o": weights},
        gaps=gaps,
        stalls=stalls,
        watch=["fault"],
        deadline=50 + pause * (weights + 33 * len(words) + 10 * len(pieces)),
    )
    beats, faults = [], {}
    for number, piece in enumerate(pieces):
        expected, fault = piece.expected()
        last = [0] * (piece.weights - 1) + [1]
        beats += [(*pair, end) for pair, end in zip(expected, last, strict=True)]
        if fault:
            faults[number] = fault
    assert [(beat.level, beat.error, beat.last) for beat in run.beats["o"]] == beats
    accepted = run.cycles["segment"]
    seen = [(sum(at < cycle for at in accepted) - 1, fault) for cycle, fault in run.seen["fault"]]
    assert seen == list(faults.items())
    return run


@st.composite
def good_pieces(draw, level_bits, modes):
    setting = draw(settings_of(level_bits, modes))
    return piece_of(draw(levels_for(setting, level_bits, 60)), setting, level_bits)


@st.composite
def hostile_pieces(draw, level_bits):
    """Segments with flipped bits, missing or surplus words, other lengths, or random bits."""
    piece = draw(good_pieces(level_bits, tuple(Mode)))
    bits = piece.bits
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(bits) - 1))
        bits = bits[:at] + str(1 - int(bits[at])) + bits[at + 1 :]
    kind = draw(st.sampled_from(["as is", "random", "short", "long", "weights", "damaged"]))
    if kind == "random":
        draw_words = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8)
        thin = draw(st.booleans())
        words = draw(draw_words)
        bits = "".join(f"{word & (0x11010 if thin else -1):032b}" for word in words)
    elif kind == "short":
        bits = bits[: draw(st.integers(1, len(bits) // 32)) * 32]
    elif kind == "long":
        bits += f"{draw(st.sampled_from([0, 0, 1, 1 << 31])):032b}" * draw(st.integers(1, 4))
    elif kind == "weights":
        piece.weights = max(1, piece.weights + draw(st.integers(-20, 20)))
    piece.bits = bits
    piece.damaged = kind == "damaged"
    return piece


@pytest.mark.parametrize("level_bits", [8, 16])
@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=25, deadline=None)
@given(draw=st.data(), gaps=waits, stalls=waits)
def test_decodes_what_the_reference_encodes(level_bits, mode, draw, gaps, stalls):
    pieces = draw.draw(st.lists(good_pieces(level_bits, (mode,)), min_size=1, max_size=3))
    decode(pieces, max_level_bits=level_bits, gaps=gaps, stalls=stalls)


@pytest.mark.parametrize("level_bits", [8, 16])
@settings(max_examples=50, deadline=None)
@given(draw=st.data(), gaps=waits, stalls=waits)
def test_refuses_what_the_reference_refuses(level_bits, draw, gaps, stalls):
    pieces = draw.draw(st.lists(hostile_pieces(level_bits), min_size=1, max_size=4))
    decode(pieces, max_level_bits=level_bits, gaps=gaps, stalls=stalls)


@settings(max_examples=25, deadline=None)
@given(draw=st.data(), gaps=waits, stalls=waits)
def test_a_wide_lane_decodes_both_widths(draw, gaps, stalls):
    either = st.sampled_from([8, 16]).flatmap(hostile_pieces)
    decode(draw.draw(st.lists(either, min_size=2, max_size=4)), max_level_bits=16)


@pytest.mark.parametrize("modes", [{mode} for mode in Mode] + [{Mode.PLAIN, Mode.RAW}])
@settings(max_examples=10, deadline=None)
@given(draw=st.data())
def test_a_lane_of_some_modes_decodes_them(modes, draw):
    pieces = draw.draw(st.lists(good_pieces(8, tuple(modes)), min_size=1, max_size=3))
    decode(pieces, dut=Lane(8, frozenset(modes)))


PLAIN = Setting.exp_golomb(1)
RAW = Setting(Mode.RAW, order=7)
RAW_16 = Setting(Mode.RAW, order=15)
ZERO_RUN = Setting(Mode.ZERO_RUN, order=1, first=1, magnitude_order=0)
JOINT = Setting(Mode.JOINT, order=1, head=2, first=1, threshold=3, stride=4)


def test_a_damaged_segment_between_good_ones_keeps_its_place():
    good = [3, 0, -1, 127, -127, 0, 0, 5]
    pieces = [piece_of(good, PLAIN), piece_of(good, PLAIN, damaged=True), piece_of(good, ZERO_RUN)]
    run = decode(pieces)
    assert [beat.error for beat in run.beats["o"]] == [0] * 8 + [1] * 8 + [0] * 8


# Of each rule of FORMAT.md, section 9, the smallest payloads that break it.
HOSTILE = {
    "32 zeros in the last word": (PLAIN, 1, "0" * 32, Reason.OVERRUN),
    "32 zeros in the first word": (PLAIN, 1, "0" * 96, Reason.BAD_CODEWORD),
    "a codeword that ends behind the payload": (PLAIN, 1, "0" * 31 + "1", Reason.OVERRUN),
    "a plain symbol above the largest": (PLAIN, 1, "0" * 8 + "1" * 24, Reason.BAD_CODEWORD),
    "a raw symbol above the largest": (RAW, 4, "0" * 24 + "1" * 8, Reason.BAD_CODEWORD),
    "no payload for a level": (RAW, 5, "0" * 32, Reason.OVERRUN),
    "a word too many": (RAW, 4, "0" * 64, Reason.BAD_PADDING),
    "a bit after the last level": (RAW, 3, "0" * 31 + "1", Reason.BAD_PADDING),
    "a run beyond the limit": (ZERO_RUN, 50, pad("0" * 4 + "100001"), Reason.BAD_CODEWORD),
    "a run beyond the segment": (ZERO_RUN, 1, pad("01000"), Reason.BAD_CODEWORD),
    "a sign without a level": (ZERO_RUN, 1, pad("111"), Reason.BAD_CODEWORD),
    "a sign after the longest run": (ZERO_RUN, 20, pad("000100101"), Reason.BAD_CODEWORD),
    "a magnitude above the largest": (ZERO_RUN, 1, pad("100" + "0" * 7 + "1"), Reason.BAD_CODEWORD),
    "no sign bit": (ZERO_RUN, 32, "101" * 10 + "11", Reason.OVERRUN),
    "a big slot without a level": (
        JOINT,
        1,
        pad(JOINT.code.codeword(JOINT.slot(1, big=True)) + "0"),
        Reason.BAD_CODEWORD,
    ),
}


@pytest.mark.parametrize(("setting", "weights", "bits", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_each_rule_is_kept(setting, weights, bits, reason):
    hostile = Piece(setting, 8, weights, bits)
    assert hostile.expected()[1] == reason
    decode([hostile, piece_of([1, 0, -3], PLAIN), hostile, hostile, piece_of([0, 0, 9], JOINT)])


@pytest.mark.parametrize(
    ("setting", "level_bits", "levels"),
    [
        (PLAIN, 8, [0] * 300),
        (PLAIN, 8, [127, -127] * 100),
        (RAW, 8, [5, -100] * 100),
        (RAW_16, 16, [30000, -29999] * 100),
        (Setting(Mode.PLAIN, order=0), 16, [32767, -32767] * 100),
        (Setting(Mode.PLAIN, order=8), 16, [1000, 0, -32767, 3] * 50),
    ],
)
def test_a_plain_or_raw_segment_gives_a_level_a_cycle(setting, level_bits, levels):
    lane_bits = level_bits
    run = decode([piece_of(levels, setting, level_bits)] * 3, max_level_bits=lane_bits)
    starts, ends = run.cycles["o"][:: len(levels)], run.cycles["o"][len(levels) - 1 :: len(levels)]
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [len(levels) - 1] * 3
    assert starts[0] - run.cycles["segment"][0] == 9
    assert [start - end - 1 for start, end in zip(starts[1:], ends, strict=False)] == [5, 5]


@pytest.mark.parametrize("setting", [ZERO_RUN, JOINT])
def test_a_segment_of_as_many_codewords_as_weights_gives_nearly_a_level_a_cycle(setting):
    rng = random.Random(1)
    choice = [0, 0, 0, 1, -1, 2, -3] if setting.mode is Mode.JOINT else [0, 0, 0, 0, 0, 1, -1, 5]
    levels = [rng.choice(choice) for _ in range(1000)]
    codewords = 0
    run_length = 0
    for level in levels:
        run_length += 1
        if level or run_length == setting.max_run:
            codewords += 1 if not level or (setting.mode is Mode.JOINT and abs(level) == 1) else 2
            run_length = 0
    assert codewords <= 1000
    run = decode([piece_of(levels, setting)])
    assert run.cycles["o"][-1] - run.cycles["o"][0] < 1030


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((12,), "max_level_bits must be 8 or 16, not 12"),
        ((8, frozenset()), "modes must not be empty"),
    ],
)
def test_wrong_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Lane(*arguments)
