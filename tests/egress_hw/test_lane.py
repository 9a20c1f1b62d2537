import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import ExpGolomb, Mode, Reason, Setting
from egress.setting import STRIDES, THRESHOLDS, symbol_to_level
from egress_hw.geometry import Geometry
from egress_hw.lane import Lane

from ..egress.strategies import levels_for, settings_of
from .lanes import Piece, check_lane, check_pieces, pad, piece_of

RUN_MODES = (Mode.ZERO_RUN, Mode.JOINT)
BUFFER = 6

geometries = st.builds(
    Geometry,
    contexts=st.sampled_from([2, 4, 8]),
    window=st.integers(9, 16),
    buffer=st.just(BUFFER),
    queue=st.sampled_from([4, 8]),
)
stalls = st.sampled_from([0, 0, 0.3, 0.7])


@st.composite
def good_pieces(draw, level_bits, modes=tuple(Mode)):
    setting = draw(settings_of(level_bits, modes))
    piece = piece_of(draw(levels_for(setting, level_bits, 40)), setting, level_bits)
    assert len(piece.words) <= 1 << BUFFER
    return piece


@st.composite
def hostile_pieces(draw, level_bits):
    """Segments with flipped bits, missing or surplus words, other lengths, or random bits."""
    piece = draw(good_pieces(level_bits))
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
    piece.bits = bits[: 32 << BUFFER]
    piece.damaged = kind == "damaged"
    return piece


@pytest.mark.parametrize("level_bits", [8, 16])
@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=5, deadline=None)
@given(draw=st.data(), geometry=geometries, stall=stalls)
def test_decodes_what_the_reference_encodes(level_bits, mode, draw, geometry, stall):
    pieces = draw.draw(st.lists(good_pieces(level_bits, (mode,)), min_size=1, max_size=6))
    check_pieces(Lane(geometry, level_bits), pieces, stall=stall)


@pytest.mark.parametrize("level_bits", [8, 16])
@settings(max_examples=20, deadline=None)
@given(draw=st.data(), geometry=geometries, stall=stalls)
def test_refuses_what_the_reference_refuses(level_bits, draw, geometry, stall):
    pieces = draw.draw(st.lists(hostile_pieces(level_bits), min_size=1, max_size=8))
    check_pieces(Lane(geometry, level_bits), pieces, stall=stall)


@settings(max_examples=10, deadline=None)
@given(draw=st.data(), geometry=geometries, stall=stalls)
def test_a_wide_lane_decodes_both_widths(draw, geometry, stall):
    either = st.sampled_from([8, 16]).flatmap(hostile_pieces)
    pieces = draw.draw(st.lists(either, min_size=2, max_size=8))
    check_pieces(Lane(geometry, 16), pieces, stall=stall)


@pytest.mark.parametrize("modes", [{mode} for mode in Mode] + [{Mode.PLAIN, Mode.RAW}])
@settings(max_examples=5, deadline=None)
@given(draw=st.data(), geometry=geometries, stall=stalls)
def test_a_lane_of_some_modes_decodes_them(modes, draw, geometry, stall):
    pieces = draw.draw(st.lists(good_pieces(8, tuple(modes)), min_size=1, max_size=6))
    check_pieces(Lane(geometry, 8, frozenset(modes)), pieces, stall=stall)


PLAIN = Setting.exp_golomb(1)
RAW = Setting(Mode.RAW, order=7)
RAW_16 = Setting(Mode.RAW, order=15)
ZERO_RUN = Setting(Mode.ZERO_RUN, order=1, first=1, magnitude_order=0)
JOINT = Setting(Mode.JOINT, order=1, head=2, first=1, threshold=3, stride=4)

# Every combination that changes what a lane is made of.
GEOMETRIES = [
    Geometry(2, 9, BUFFER, 8),
    Geometry(2, 16, BUFFER, 8),
    Geometry(4, 10, BUFFER, 4),
    Geometry(4, 16, BUFFER, 8),
    Geometry(8, 10, BUFFER, 4, multipliers=2),
    Geometry(8, 16, BUFFER, 8, multipliers=1),
]
each_geometry = pytest.mark.parametrize(
    "geometry", GEOMETRIES, ids=lambda g: f"{g.contexts}-{g.window}-{g.queue}"
)


@each_geometry
def test_a_damaged_segment_between_good_ones_keeps_its_place(geometry):
    good = [3, 0, -1, 127, -127, 0, 0, 5]
    group = [piece_of(good, PLAIN), piece_of(good, PLAIN, damaged=True), piece_of(good, ZERO_RUN)]
    results, _ = check_lane(Lane(geometry), [group] * geometry.contexts)
    for given_ in results:
        lost = [weight for weight in given_[1].weights if weight == ("lost", None)]
        assert len(lost) == len(good)


def slot_bits(run, big):
    return JOINT.code.codeword(JOINT.slot(run, big))


# Of each rule of FORMAT.md, section 9, the smallest payloads that break it; and what breaks none,
# as it is behind the last weight.
HOSTILE = {
    "32 zeros in the last word": (PLAIN, 1, "0" * 32, Reason.OVERRUN),
    "32 zeros in the first word": (PLAIN, 1, "0" * 96, Reason.BAD_CODEWORD),
    "32 zeros and one more bit": (PLAIN, 1, "0" * 64, Reason.BAD_CODEWORD),
    "a last bit of zero": (Setting.exp_golomb(0), 33, "1" * 31 + "0", Reason.OVERRUN),
    "two last bits of zero": (Setting.exp_golomb(0), 33, "1" * 30 + "00", Reason.OVERRUN),
    "a codeword that ends behind the payload": (
        PLAIN, 11, "100" * 10 + "01", Reason.OVERRUN),
    "a long codeword that ends behind the payload": (PLAIN, 1, "0" * 31 + "1", Reason.OVERRUN),
    "a long codeword": (PLAIN, 1, "0" * 31 + "1" + "0" * 32, Reason.BAD_CODEWORD),
    "a plain symbol above the largest": (PLAIN, 1, "0" * 8 + "1" * 24, Reason.BAD_CODEWORD),
    "a raw symbol above the largest": (RAW, 4, "0" * 24 + "1" * 8, Reason.BAD_CODEWORD),
    "no payload for a level": (RAW, 5, "0" * 32, Reason.OVERRUN),
    "a full slot and no payload for a level": (RAW, 257, "0" * (32 << BUFFER), Reason.OVERRUN),
    "a full slot and 32 zeros at its end": (
        Setting.exp_golomb(0), 2048, "1" * 2017 + "0" * 31, Reason.OVERRUN),
    "a word too many": (RAW, 4, "0" * 64, None),
    "a bit after the last level": (RAW, 3, "0" * 31 + "1", None),
    "a bad codeword after the last level": (PLAIN, 1, "10" + "0" * 62, None),
    "a run beyond the limit": (
        ZERO_RUN, 5000, pad(ZERO_RUN.code.codeword(4097) + "0"), Reason.BAD_CODEWORD),
    "a run beyond the segment": (ZERO_RUN, 1, pad("01000"), None),
    "a run beyond the segment and the limit": (
        ZERO_RUN, 1, pad(ZERO_RUN.code.codeword(4097) + "0"), Reason.BAD_CODEWORD),
    "a level after the segment's": (ZERO_RUN, 1, pad("111"), None),
    "a bad magnitude after the segment's last zero": (
        ZERO_RUN, 1, "110" + "0" * 61, None),
    "a level after the longest run": (
        ZERO_RUN, 5000, pad(ZERO_RUN.code.codeword(4096) + "1"), Reason.BAD_CODEWORD),
    "a magnitude above the largest": (
        ZERO_RUN, 1, pad("10" + ZERO_RUN.magnitude_code.codeword(254)), Reason.BAD_CODEWORD),
    "a joint magnitude above the largest": (
        JOINT, 1, pad(slot_bits(0, True) + JOINT.magnitude_code.codeword(252)),
        Reason.BAD_CODEWORD),
    "32 zeros of a magnitude": (ZERO_RUN, 1, "10" + "0" * 62, Reason.BAD_CODEWORD),
    "31 zeros of a magnitude": (
        ZERO_RUN, 1, "10" + "0" * 31 + "1" + "0" * 30, Reason.BAD_CODEWORD),
    "24 zeros of a magnitude": (
        ZERO_RUN, 1, "10" + "0" * 24 + "1" + "0" * 37, Reason.BAD_CODEWORD),
    "a magnitude's zeros in the last word": (ZERO_RUN, 1, "10" + "0" * 30, Reason.OVERRUN),
    "no bit after a run": (ZERO_RUN, 32, "101" * 10 + "11", Reason.OVERRUN),
    "a big slot without a level": (JOINT, 1, pad(slot_bits(1, True) + "0"), None),
    "a big slot of the longest run": (JOINT, 5000, pad(slot_bits(4096, True)), Reason.BAD_CODEWORD),
    "a sign after the longest run": (
        JOINT, 5000, pad(slot_bits(4096, False) + "1"), Reason.BAD_CODEWORD),
    "a sign after the segment": (JOINT, 2, pad(slot_bits(2, False) + "1"), None),
}  # fmt: skip


def hostile(name):
    setting, weights, bits, _ = HOSTILE[name]
    return Piece(setting, 8, weights, bits)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_model_refuses_for_the_reason(name):
    assert hostile(name).expected()[1] == HOSTILE[name][3]


@each_geometry
def test_each_rule_is_kept(geometry):
    pieces = []
    for name in HOSTILE:
        if (weights := hostile(name).weights) < 1000 or geometry.queue == 4:
            pieces += [hostile(name), piece_of([1, 0, -3], PLAIN), piece_of([0, 0, 9], JOINT)]
            pieces += [hostile(name)] * (weights < 100)
    # Errors need not be popped to the end to be seen.
    for piece in pieces:
        good, reason = piece.expected()
        if reason:
            piece.weights = min(piece.weights, len(good) + 4)
    check_pieces(Lane(geometry), pieces)


@each_geometry
@pytest.mark.parametrize(
    ("setting", "level_bits", "levels"),
    [
        (PLAIN, 8, [0, 1, -1, 2] * 15),
        (Setting.exp_golomb(0), 8, [0, -7] * 30),
        (RAW, 8, [5, -100] * 30),
        (JOINT, 8, [1, -1, 0, 1] * 15),
    ],
)
def test_a_codeword_a_weight_within_the_window_gives_a_weight_each_turn(
    geometry, setting, level_bits, levels
):
    C = geometry.contexts
    piece = piece_of(levels, setting, level_bits)
    results, _ = check_lane(Lane(geometry, level_bits), [[piece] * 2] * C)
    for given_ in (given_ for context in results for given_ in context):
        first = given_.start + geometry.push - geometry.begin + 2 * C
        assert given_.pops == list(range(first, first + C * len(levels), C))


@each_geometry
@pytest.mark.parametrize(
    ("setting", "levels", "steps"),
    [
        # A run and a magnitude of 2 bits or more for each weight.
        (ZERO_RUN, [1, -1, 2] * 15, 2),
        (Setting(Mode.JOINT), [2, -2, 3] * 15, 2),
        # Magnitudes of no bits of their own, after the one that is taken with the run.
        (Setting(Mode.ZERO_RUN), [1] * 45, 2),
        (Setting(Mode.JOINT), [2] * 45, 2),
        # 8 zeros, and the rest of the codeword; all but the suffix, and that; or both.
        (Setting.exp_golomb(0, 15), [4, -4] * 20, 2),
        (Setting(Mode.RAW, 15), [300, -300] * 15, 4),
        (Setting.exp_golomb(15), [300, -300] * 15, 3),
    ],
)
def test_of_more_steps_a_weight_each_is_a_turn(geometry, setting, levels, steps):
    C = geometry.contexts
    if geometry.window >= 16 and steps >= 3:
        steps = 1
    piece = piece_of(levels, setting, 16)
    results, _ = check_lane(Lane(geometry, 16), [[piece]] * C)
    for (given_,) in results:
        turns = (given_.pops[-1] - given_.pops[0]) / C
        assert turns == pytest.approx(steps * (len(levels) - 1), abs=3)


@each_geometry
def test_codewords_wait_while_a_run_is_given(geometry):
    # A run gives time for as many codewords as the queue holds.
    C = geometry.contexts
    levels = ([0] * 12 + [1, -1] * 2) * 12
    piece = piece_of(levels, ZERO_RUN)
    results, _ = check_lane(Lane(replace(geometry, queue=8)), [[piece]] * C)
    for (given_,) in results:
        assert given_.pops[-1] - given_.pops[0] == C * (len(levels) - 1)


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


def some_codes(rng, count):
    """Order, head, first order, flags; small numbers and the largest more often."""
    number = [*range(16), 0, 0, 1, 2, 15]
    for _ in range(count):
        flags = rng.random() < 0.5, rng.random() < 0.5
        yield rng.choice(number), rng.choice(number), rng.choice(number), *flags


@each_geometry
def test_every_class_of_plain_codes_is_decoded(geometry):
    rng = random.Random(geometry.window)
    pieces = []
    for code in some_codes(rng, 32):
        setting = Setting(Mode.PLAIN, *code, rng.random() < 0.3)
        symbols = class_edges(setting.code, 65534)
        pieces.append(piece_of([symbol_to_level(s) for s in symbols], setting, 16))
    check_pieces(Lane(geometry, 16), pieces)


@each_geometry
def test_every_class_of_magnitudes_is_decoded(geometry):
    rng = random.Random(geometry.window)
    pieces = []
    for order, head, _, half, _ in some_codes(rng, 24):
        setting = Setting(
            rng.choice(RUN_MODES), magnitude_order=order, magnitude_head=head, magnitude_half=half
        )
        symbols = class_edges(setting.magnitude_code, setting.max_magnitude_symbol(16))
        levels = [symbol_to_level(s + setting.magnitude_base) for s in symbols]
        pieces.append(piece_of(levels, setting, 16))
    check_pieces(Lane(geometry, 16), pieces)


@each_geometry
def test_every_class_of_runs_is_decoded(geometry):
    rng = random.Random(geometry.window)
    pieces = []
    for code in some_codes(rng, 16):
        mode = rng.choice(RUN_MODES)
        setting = Setting(mode, *code, stride=None if mode is Mode.JOINT else 2)
        runs = [run for run in class_edges(setting.code, 60) if setting.code.length(run) < 32]
        pieces.append(piece_of([level for run in runs for level in [0] * run + [1]], setting))
    check_pieces(Lane(geometry), pieces)


@pytest.mark.parametrize("stride", STRIDES)
def test_every_kind_of_slot_is_decoded(stride):
    rng = random.Random(1)
    pieces = []
    for threshold in THRESHOLDS:
        setting = Setting(Mode.JOINT, 2, 3, 1, threshold=threshold, stride=stride)
        slots = {0, 1, *range(max(threshold - 2, 0), threshold + (stride or 2) + 2)}
        levels = []
        for slot in sorted(slots):
            run, big = setting.unslot(slot)
            levels += [0] * run + [rng.choice((-3, -2, 2, 3)) if big else rng.choice((-1, 1))]
        pieces.append(piece_of(levels, setting))
    check_pieces(Lane(GEOMETRIES[STRIDES.index(stride)]), pieces)


@pytest.mark.parametrize(("mode", "geometry"), [*zip(RUN_MODES, GEOMETRIES[1:3], strict=True)])
def test_longest_runs_are_decoded(mode, geometry):
    setting = Setting(mode, 9, 15, 6)
    pieces = [
        piece_of([0] * 4096 + [1], setting),
        piece_of([0] * 4095 + [-5], setting),
        piece_of([0] * 4097 + [3], setting),
        piece_of([0] * 4096, setting),
    ]
    check_pieces(Lane(geometry), pieces[: geometry.contexts])


# Codewords of 31, 32 and 33 bits: of order, head, flag and symbol.
LONG = [
    (order, head, half, symbol)
    for order in range(12)
    for head in range(16)
    for half in (False, True)
    for symbol in (200, 254, 4000, 30000)
    if 31 <= ExpGolomb(order, head, half=half, symbol_width=16).length(symbol) <= 33
]


@pytest.mark.parametrize(
    ("kind", "geometry"),
    [*zip(("plain", "magnitude"), GEOMETRIES, strict=False)],
)
def test_a_codeword_has_32_bits_at_most_with_the_one_that_follows(kind, geometry):
    pieces, lengths = [], set()
    for order, head, half, symbol in LONG:
        length = ExpGolomb(order, head, half=half, symbol_width=16).length(symbol)
        if kind in ("run", "slot") and symbol > 300:
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
        assert piece.expected()[1] == (Reason.BAD_CODEWORD if length > 32 else None)
        lengths.add(length)
        pieces.append(piece)
    assert lengths
    check_pieces(Lane(geometry, 16), random.Random(1).sample(pieces, min(32, len(pieces))))


@each_geometry
def test_no_symbol_above_the_largest_is_taken_for_a_smaller_one(geometry):
    rng = random.Random(geometry.window)
    pieces = []
    for order, head, first, half, first_half in some_codes(rng, 400):
        setting = Setting(Mode.PLAIN, order, head, first, half, first_half)
        symbol = rng.choice((65534, 65535, 65536, 65541, 98304, 131073, 196609, 262146))
        bits = codeword(setting.code, symbol)
        if len(bits) <= 32 and len(pieces) < 40:
            piece = Piece(setting, 16, 1, pad(bits))
            assert piece.expected()[1] == (None if symbol == 65534 else Reason.BAD_CODEWORD)
            pieces.append(piece)
    assert len(pieces) == 40
    check_pieces(Lane(geometry, 16), pieces)


@each_geometry
def test_no_run_above_the_longest_is_taken_for_a_shorter_one(geometry):
    rng = random.Random(geometry.window)
    pieces = []
    for code in some_codes(rng, 1000):
        mode = rng.choice(RUN_MODES)
        kinds = {"threshold": rng.choice(THRESHOLDS), "stride": rng.choice(STRIDES)}
        setting = Setting(mode, *code, **kinds if mode is Mode.JOINT else {})
        slot = rng.choice((4097, 8192, 16384, 32768, 32796, 65535, 65536, 131072, 262144))
        run, _ = setting.unslot(slot) if mode is Mode.JOINT else (slot, False)
        bits = codeword(setting.code, slot) + rng.choice("01")
        if run > 4096 and len(bits) <= 32 and len(pieces) < 40:
            piece = Piece(setting, 8, 5, pad(bits))
            assert piece.expected()[1] == Reason.BAD_CODEWORD
            pieces.append(piece)
    assert len(pieces) == 40
    check_pieces(Lane(geometry), pieces)


def test_a_bad_field_behind_a_segments_end_is_not_of_the_next_segment():
    geometry = Geometry(contexts=2, window=15, buffer=BUFFER, queue=4)
    # Behind the only weight, the field of a codeword that means nothing.
    setting = Setting(Mode.PLAIN, order=13, head=11)
    bad = Piece(setting, 16, 1, "10000000000010000001000000000000")
    good = piece_of([0] * 20, Setting(Mode.PLAIN, order=10, head=10, first=10), 16)
    check_lane(Lane(geometry, 16), [[], [bad, good]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lane(Geometry(), 12), "level_bits must be 8 or 16, not 12"),
        (lambda: Lane(Geometry(), 8, frozenset()), "modes must not be empty"),
        (lambda: Geometry(contexts=3), "contexts must be 2, 4 or 8, not 3"),
        (lambda: Geometry(window=8), "window must be within 9..16, not 8"),
        (lambda: Geometry(window=17), "window must be within 9..16, not 17"),
        (lambda: Geometry(buffer=4), "buffer must be within 5..11, not 4"),
        (lambda: Geometry(queue=2), "queue must be 4, 8, 16 or 32, not 2"),
    ],
)
def test_wrong_parameters_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
