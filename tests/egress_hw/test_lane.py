import random
import re
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import ExpGolomb, Mode, Reason, Setting
from egress.reference import encode_segment
from egress.setting import MAX_RUN, STRIDES, THRESHOLDS, symbol_to_level
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
        piece.setting = draw(settings_of(level_bits, (piece.setting.mode,), any_code=True))
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
    "a codeword that ends behind the payload": (
        PLAIN, 11, "100" * 10 + "01", Reason.OVERRUN),
    "a long codeword that ends behind the payload": (PLAIN, 1, "0" * 31 + "1", Reason.OVERRUN),
    "a long codeword": (PLAIN, 1, "0" * 31 + "1" + "0" * 32, Reason.BAD_CODEWORD),
    "a plain symbol above the largest": (PLAIN, 1, "0" * 8 + "1" * 24, Reason.BAD_CODEWORD),
    "a raw symbol above the largest": (RAW, 4, "0" * 24 + "1" * 8, Reason.BAD_CODEWORD),
    "no payload for a level": (RAW, 5, "0" * 32, Reason.OVERRUN),
    "a word too many": (RAW, 4, "0" * 64, Reason.BAD_PADDING),
    "a bit after the last level": (RAW, 3, "0" * 31 + "1", Reason.BAD_PADDING),
    "a run beyond the limit": (
        ZERO_RUN, 5000, pad(ZERO_RUN.code.codeword(4097) + "0"), Reason.BAD_CODEWORD),
    "a run beyond the segment": (ZERO_RUN, 1, pad("01000"), Reason.BAD_CODEWORD),
    "a level after the segment's": (ZERO_RUN, 1, pad("111"), Reason.BAD_CODEWORD),
    "a level after the longest run": (
        ZERO_RUN, 5000, pad(ZERO_RUN.code.codeword(4096) + "1"), Reason.BAD_CODEWORD),
    "a magnitude above the largest": (
        ZERO_RUN, 1, pad("10" + ZERO_RUN.magnitude_code.codeword(254)), Reason.BAD_CODEWORD),
    "a joint magnitude above the largest": (
        JOINT,
        1,
        pad(JOINT.code.codeword(JOINT.slot(0, big=True)) + JOINT.magnitude_code.codeword(252)),
        Reason.BAD_CODEWORD,
    ),
    "32 zeros of a magnitude": (ZERO_RUN, 1, "10" + "0" * 62, Reason.BAD_CODEWORD),
    "31 zeros of a magnitude": (
        ZERO_RUN, 1, "10" + "0" * 31 + "1" + "0" * 30, Reason.BAD_CODEWORD),
    "a magnitude's zeros in the last word": (ZERO_RUN, 1, "10" + "0" * 30, Reason.OVERRUN),
    "no bit after a run": (ZERO_RUN, 32, "101" * 10 + "11", Reason.OVERRUN),
    "a big slot without a level": (
        JOINT, 1, pad(JOINT.code.codeword(JOINT.slot(1, big=True)) + "0"), Reason.BAD_CODEWORD),
    "a big slot of the longest run": (
        JOINT, 5000, pad(JOINT.code.codeword(JOINT.slot(4096, big=True))), Reason.BAD_CODEWORD),
    "a sign after the longest run": (
        JOINT,
        5000,
        pad(JOINT.code.codeword(JOINT.slot(4096, big=False)) + "1"),
        Reason.BAD_CODEWORD,
    ),
    "a sign after the segment": (
        JOINT, 2, pad(JOINT.code.codeword(JOINT.slot(2, big=False)) + "1"), Reason.BAD_CODEWORD),
}  # fmt: skip


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
        (Setting.exp_golomb(0), 16, [32767, -32767] * 100),
        (Setting.exp_golomb(8), 16, [1000, 0, -32767, 3] * 50),
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
        if level or run_length == MAX_RUN:
            codewords += 1 if not level or (setting.mode is Mode.JOINT and abs(level) == 1) else 2
            run_length = 0
    assert codewords <= 1000
    run = decode([piece_of(levels, setting)])
    assert run.cycles["o"][-1] - run.cycles["o"][0] < 1030


@pytest.mark.parametrize("levels", [[0, 2], [0, 0, -2, 2]])
@pytest.mark.parametrize("mode", RUN_MODES)
def test_magnitudes_of_no_bits_of_their_own_take_one_cycle_each(mode, levels):
    # The magnitudes are a bit, which is taken with the run: the step after it moves by nothing.
    setting = Setting(mode, order=0, head=1)
    levels = levels * (600 // len(levels))
    if mode is Mode.ZERO_RUN:
        levels = [level // 2 for level in levels]
    piece = piece_of([max(level, 0) for level in levels], setting)
    codewords = sum(2 for level in levels if level > 0) + 2
    run = decode([piece])
    steps = run.cycles["o"][-1] - run.cycles["o"][0]
    assert steps <= max(600, codewords) + 20


def class_edges(code, largest):
    """First and last symbol of each class, as far as its codewords have 32 bits."""
    symbols, first, index = [], 0, 0
    while first <= largest:
        last = min(first + code.size(index) - 1, largest)
        symbols += [s for s in {first, last} if len(codeword(code, s)) <= 32]
        first += code.size(index)
        index += 1
    return symbols


def codeword(code, symbol):
    """Codeword of any symbol, however large."""
    index = 0
    while symbol >= code.size(index):
        symbol -= code.size(index)
        index += 1
    return "0" * code.zeros(index) + f"{code.size(index) + symbol:b}"


FLAGS = [(half, first_half) for half in (False, True) for first_half in (False, True)]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("first", range(16))
def test_every_class_of_plain_codes_is_decoded(first, swap):
    pieces = []
    for order in {0, 1, first, (first * 5 + 3) % 16, 15}:
        for head in (0, 1, 2, 3, (order + first) % 16):
            for half, first_half in FLAGS[(order + head) % 2 :: 2]:
                setting = Setting(Mode.PLAIN, order, head, first, half, first_half, swap)
                symbols = class_edges(setting.code, 65534)
                pieces.append(piece_of([symbol_to_level(s) for s in symbols], setting, 16))
    decode(pieces, max_level_bits=16)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("mode", RUN_MODES)
def test_every_class_of_magnitudes_is_decoded(mode, half):
    pieces = []
    for order in range(16):
        for head in (0, 1, 2, order):
            setting = Setting(mode, magnitude_order=order, magnitude_head=head, magnitude_half=half)
            largest = setting.max_magnitude_symbol(16)
            symbols = class_edges(setting.magnitude_code, largest)
            levels = [symbol_to_level(s + setting.magnitude_base) for s in symbols]
            pieces.append(piece_of(levels, setting, 16))
    decode(pieces, max_level_bits=16)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("first", range(0, 16, 3))
def test_every_class_of_runs_is_decoded(first, half):
    pieces = []
    for order in (0, 2, 5, 12):
        for head in (0, 1, 4, 15):
            code = Setting(Mode.ZERO_RUN, order, head, first, half, not half).code
            # The code of runs, then of slots, each with the bit after it.
            for mode in RUN_MODES:
                setting = Setting(
                    mode,
                    order,
                    head,
                    first,
                    half,
                    not half,
                    stride=None if mode is Mode.JOINT else 2,
                )
                runs = [run for run in class_edges(code, 300) if code.length(run) < 32]
                levels = [level for run in runs for level in [0] * run + [1]]
                pieces.append(piece_of(levels, setting))
    decode(pieces)


@pytest.mark.parametrize("stride", STRIDES)
def test_every_kind_of_slot_is_decoded(stride):
    rng = random.Random(1)
    pieces = []
    for threshold in THRESHOLDS:
        setting = Setting(Mode.JOINT, 2, 3, 1, threshold=threshold, stride=stride)
        slots = {0, 1, *range(max(threshold - 2, 0), threshold + 2 * (stride or 2) + 2)}
        levels = []
        for slot in sorted(slots):
            run, big = setting.unslot(slot)
            levels += [0] * run + [rng.choice((-3, -2, 2, 3)) if big else rng.choice((-1, 1))]
        pieces.append(piece_of(levels, setting))
    decode(pieces)


@pytest.mark.parametrize("mode", RUN_MODES)
def test_longest_runs_are_decoded(mode):
    setting = Setting(mode, 9, 15, 6)
    levels = [0] * 4096 + [1] + [0] * 4095 + [-5] + [0] * 4097 + [0] * 4095
    decode([piece_of(levels, setting), piece_of([0] * 4096, setting), piece_of([3], setting)])


# Codewords of 31, 32 and 33 bits: of order, head, flag and symbol.
LONG = [
    (order, head, half, symbol)
    for order in range(12)
    for head in range(16)
    for half in (False, True)
    for symbol in (4000, 4095, 30000)
    if 31 <= ExpGolomb(order, head, half=half, symbol_width=16).length(symbol) <= 33
]


@pytest.mark.parametrize("kind", ["plain", "run", "slot", "magnitude"])
def test_a_codeword_has_32_bits_at_most_with_the_one_that_follows(kind):
    pieces, lengths = [], set()
    for order, head, half, symbol in LONG:
        length = ExpGolomb(order, head, half=half, symbol_width=16).length(symbol)
        if kind in ("run", "slot") and symbol > 4096:
            continue
        if kind == "plain":
            setting = Setting.exp_golomb(order, head, half)
            bits, weights = setting.code.codeword(symbol), 1
        elif kind == "magnitude":
            setting = Setting(
                Mode.ZERO_RUN, magnitude_order=order, magnitude_head=head, magnitude_half=half
            )
            bits, weights = "1" + setting.magnitude_code.codeword(symbol), 1
        else:
            mode = Mode.ZERO_RUN if kind == "run" else Mode.JOINT
            setting = Setting(
                mode, order, head, order, half, half, stride=None if mode is Mode.JOINT else 2
            )
            bits, weights = setting.code.codeword(symbol) + "0", symbol
            length += 1
        piece = Piece(setting, 16, weights, pad(bits))
        assert piece.expected()[1] == (Reason.BAD_CODEWORD if length > 32 else 0)
        lengths.add(length)
        pieces.append(piece)
    assert {32, 33} <= lengths
    if kind in ("run", "slot"):
        pieces = pieces[::9]
    decode(pieces, max_level_bits=16)


@pytest.mark.parametrize("first", [0, 7, 15])
def test_no_symbol_above_the_largest_is_taken_for_a_smaller_one(first):
    pieces, symbols = [], set()
    for order in range(8, 16):
        for head in (0, 1, 2, 7, 15):
            for half, first_half in FLAGS:
                setting = Setting(Mode.PLAIN, order, head, first, half, first_half)
                for symbol in (65534, 65535, 65536, 65541, 98304, 131073, 196609, 262146):
                    bits = codeword(setting.code, symbol)
                    if len(bits) > 32:
                        continue
                    symbols.add(symbol)
                    piece = Piece(setting, 16, 1, pad(bits))
                    assert piece.expected()[1] == (0 if symbol == 65534 else Reason.BAD_CODEWORD)
                    pieces.append(piece)
    assert len(symbols) == 8
    decode(pieces, max_level_bits=16)


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
