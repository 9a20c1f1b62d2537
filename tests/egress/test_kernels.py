"""Every kernel gives what the scalar reference gives, and refuses what it refuses, as it does."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import egress
from egress import BitstreamError, Mode, Setting, kernels
from egress.record import Header, crc16, pack_segment
from egress.reference import decode_record, encode_segment
from egress.setting import WINDOW_BITS
from tests.egress.strategies import levels_for, settings_of

KERNELS = kernels.available()

quick = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def padded(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 32) or "0" * 32 * (not bits)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def record_of(settings_, level_bits, segments, segment_weights, weights, interleave=1) -> bytes:
    """A record of ``segments``: pairs of the setting's number and the payload."""
    body = b"".join(pack_segment(index, data, n) for n, (index, data) in enumerate(segments))
    header = Header(
        level_bits=level_bits,
        step_bits=0x3B80,
        weights=weights,
        segment_weights=segment_weights,
        interleave=interleave,
        buffer=11,
        settings=tuple(settings_),
        words=len(body) // 4,
    )
    return header.pack() + body


@st.composite
def records(draw) -> bytes:
    """A record of up to four settings and some segments, most of them undamaged."""
    level_bits = draw(st.sampled_from((8, 16)))
    some = draw(st.lists(settings_of(level_bits), min_size=1, max_size=4))
    size = draw(st.integers(1, 60))
    interleave = draw(st.sampled_from((1, 1, 2, 3, 8)))
    weights = draw(st.integers(1, 8 * size))
    layout = Header(
        level_bits=level_bits,
        step_bits=0x3B80,
        weights=weights,
        segment_weights=size,
        interleave=interleave,
        buffer=11,
        settings=tuple(some),
        words=0,
    )
    segments = []
    for count in layout.segment_lengths().tolist():
        index = draw(st.integers(0, len(some) - 1))
        levels = draw(levels_for(some[index], level_bits, max_size=count))
        levels = (levels * count)[:count]
        payload = bytearray(padded(encode_segment(levels, some[index], level_bits)))
        match draw(st.integers(0, 30)):
            case 0:
                payload[draw(st.integers(0, len(payload) - 1))] ^= draw(st.integers(1, 255))
            case 1:
                payload += bytes(4)
            case 2:
                payload = bytearray(draw(st.binary(min_size=4, max_size=40)))
                payload = payload[: len(payload) // 4 * 4]
            case 3 if len(payload) > 4:
                del payload[-4:]
        segments.append((index, bytes(payload[: 4 * 2048])))
    data = bytearray(record_of(some, level_bits, segments, size, weights, interleave))
    if draw(st.integers(0, 20)) == 0:
        at = draw(st.integers(layout.size, len(data) - 1))
        data[at] ^= draw(st.integers(1, 255))
    return bytes(data)


def outcome(decode):
    try:
        return decode()
    except BitstreamError as error:
        return error.reason, error.bit_offset, error.segment, error.detail


@pytest.mark.parametrize("kernel", KERNELS)
@settings(quick, max_examples=150)
@given(data=records(), threads=st.sampled_from((1, 1, 3)))
def test_any_record_is_decoded_or_refused_as_by_the_reference(kernel, data, threads):
    expected = outcome(lambda: decode_record(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kernels.VARIABLE, kernel)
        got = outcome(lambda: list(egress.decode(data, threads=threads).levels))
        assert got == expected


SETTINGS = [
    Setting.exp_golomb(0),
    Setting.exp_golomb(3),
    Setting(Mode.PLAIN, order=2, first=0, head=4, swap=True),
    Setting(Mode.PLAIN, order=3, first=3, head=15, half=True, first_half=True),
    Setting(Mode.PLAIN, order=5, first=1, head=2, half=True),
    Setting(Mode.PLAIN, order=0, first=0, head=15, half=True, first_half=True),
    Setting(Mode.RAW, order=2),
    Setting(Mode.RAW, order=4),
    Setting(Mode.RAW, order=7),
    Setting(Mode.ZERO_RUN, order=2, head=3, first=2),
    Setting(Mode.JOINT, order=2, head=3, first=2, magnitude_order=1, threshold=4, stride=4),
    Setting(Mode.JOINT, order=4, head=3, first=4, threshold=0, stride=None),
]


RUN_MODES = (Mode.ZERO_RUN, Mode.JOINT)


def many_segments(setting: Setting, level_bits: int, spread: float):
    """Levels and record of many segments, of lengths that no store or round divides."""
    rng = np.random.default_rng(7)
    # A round of look-ups for long runs takes a thousand levels.
    count, size = (40, 2221) if setting.mode in RUN_MODES else (70, 333)
    largest = 127 if level_bits == 8 else 2000
    if setting.mode is Mode.RAW:
        largest = min(largest, 1 << setting.order) - 1 or 1
    if setting.stride is None:
        largest = 1
    while setting.mode is Mode.PLAIN and setting.code.length(2 * largest) > WINDOW_BITS:
        largest //= 2
    levels = np.rint(rng.laplace(0, spread, count * size - 100))
    # Long codewords among short ones: windows end within them.
    levels = np.where(rng.random(len(levels)) < 0.03, 1e5 * levels, levels).clip(-largest, largest)
    levels = levels.astype(np.int8 if level_bits == 8 else np.int16)
    segments = []
    for at in range(0, len(levels), size):
        bits = encode_segment(levels[at : at + size].tolist(), setting, level_bits)
        segments.append((0, padded(bits)))
    return levels, record_of([setting], level_bits, segments, size, len(levels))


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("spread", [0.15, 1.0, 6.0, 40.0])
@pytest.mark.parametrize("level_bits", [8, 16])
def test_many_segments_at_once_give_their_levels(monkeypatch, setting, spread, level_bits):
    levels, record = many_segments(setting, level_bits, spread)
    for kernel in KERNELS:
        monkeypatch.setenv(kernels.VARIABLE, kernel)
        assert (egress.decode(record).levels == levels).all(), kernel


@pytest.mark.parametrize(
    ("setting", "spread"),
    [(s, 9.0) for s in SETTINGS[:7]]
    + [(s, spread) for s in SETTINGS[-3:-1] for spread in (0.15, 1.0)],
    ids=str,
)
def test_damage_among_many_segments_is_told_as_by_the_reference(monkeypatch, setting, spread):
    _, record = many_segments(setting, 8, spread)
    header = Header.unpack(record)
    rng = np.random.default_rng(8)
    for _ in range(12):
        # Damage under a CRC that holds, which only a faulty encoder makes.
        number = int(rng.integers(header.segments))
        segments = egress.Segments(record)
        places = segments._start.tolist()
        payload = bytearray(record[places[number] + 4 : places[number + 1]])
        payload[int(rng.integers(len(payload)))] ^= 1 << int(rng.integers(8))
        data = (
            record[: places[number]]
            + pack_segment(0, bytes(payload), number)
            + record[places[number + 1] :]
        )
        expected = outcome(lambda data=data: decode_record(data))
        for kernel in KERNELS:
            monkeypatch.setenv(kernels.VARIABLE, kernel)
            got = outcome(lambda data=data: egress.decode(data, threads=2).levels.tolist())
            assert got == expected, kernel


def test_the_first_of_several_faults_is_told(monkeypatch):
    setting = Setting.exp_golomb(0)
    good, bad = padded("1" * 20), padded("0" * 32)
    record = bytearray(record_of([setting], 8, [(0, good), (0, bad), (0, good)] * 9, 20, 27 * 20))
    expected = outcome(lambda: decode_record(bytes(record)))
    assert expected[2] == 1
    for kernel in KERNELS:
        monkeypatch.setenv(kernels.VARIABLE, kernel)
        assert outcome(lambda: egress.decode(bytes(record))) == expected
    # A CRC is looked at before any codeword.
    record[-1] ^= 1
    expected = outcome(lambda: decode_record(bytes(record)))
    assert expected[2] == 26
    for kernel in KERNELS:
        monkeypatch.setenv(kernels.VARIABLE, kernel)
        assert outcome(lambda: egress.decode(bytes(record))) == expected


@pytest.mark.skipif(not kernels.compiled, reason="the compiled codec is not installed")
@given(st.binary(min_size=1, max_size=300), st.integers(0, 2500), st.integers(0, 0xFFFF))
def test_the_compiled_crc_is_the_formats(data, size, value):
    data = (data * size)[:size]
    assert kernels.compiled.crc16(data, value) == crc16(data, value)
    assert kernels.compiled.crc16(b"123456789") == 0x29B1  # the catalogue's check value


@pytest.mark.skipif(not kernels.compiled, reason="the compiled codec is not installed")
def test_numbers_that_do_not_agree_with_the_buffers_are_refused():
    record = egress.encode(np.arange(-100, 100), segment_weights=10)
    header = Header.unpack(record)
    start = egress.Segments(record)._start
    tables = tuple(kernels.tables(s.pack(), 8) for s in header.settings)
    out = np.zeros(200, np.int8)

    def call(**changes):
        values = {
            "record": record,
            "start": start,
            "first": 0,
            "last": 20,
            "settings": tables,
            "level_bits": 8,
            "weights": 200,
            "segment_weights": 10,
            "interleave": 1,
            "out": out,
            "origin": 0,
            "kind": 0,
            "step": 1.0,
            "check": True,
            "kernel": 0,
        }
        assert values.keys() >= changes.keys()
        return kernels.compiled.decode(*(values | changes).values())

    assert call() == -1
    far = start.copy()
    far[7] = 1 << 40
    for change in (
        {"start": start[:20]},
        {"start": far},
        {"start": start[::-1].copy()},
        {"first": 21},
        {"last": 21},
        {"settings": ()},
        {"level_bits": 16},
        {"level_bits": 9},
        {"weights": 1 << 40},
        {"segment_weights": 11},
        {"segment_weights": 0},
        {"interleave": 0},
        {"out": out[:199]},
        {"origin": 1},
        {"kind": 1},
        {"kind": 3},
        {"kind": -1},
        {"record": record[:100]},
    ):
        with pytest.raises(ValueError, match="do not agree"):
            call(**change)
    for change in ({"settings": (1,)}, {"out": bytes(200)}, {"start": start.tolist()}):
        with pytest.raises((TypeError, ValueError, BufferError)):
            call(**change)


def test_the_environment_names_the_kernel(monkeypatch):
    for kernel in KERNELS:
        monkeypatch.setenv(kernels.VARIABLE, kernel)
        assert kernels.active() == kernel
    monkeypatch.setenv(kernels.VARIABLE, "")
    assert kernels.active() == KERNELS[-1]
    monkeypatch.setenv(kernels.VARIABLE, "gpu")
    with pytest.raises(ValueError, match="must be one of numpy, portable, avx2, avx512, not 'gpu'"):
        kernels.active()


def test_a_kernel_that_is_not_here_is_refused_with_what_to_do(monkeypatch):
    class Old:
        @staticmethod
        def supported():
            return ("portable",)

    monkeypatch.setattr(kernels, "compiled", Old)
    monkeypatch.setenv(kernels.VARIABLE, "avx512")
    with pytest.raises(RuntimeError, match="this processor does not run it; it runs numpy, port"):
        kernels.active()
    monkeypatch.setattr(kernels, "compiled", None)
    with pytest.raises(RuntimeError, match="not installed; with a C compiler"):
        kernels.active()


def test_without_the_compiled_codec_all_works_and_says_once_that_it_is_slow():
    script = """
import sys, warnings
sys.modules["egress._kernel"] = None
import egress
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        assert egress.decode(egress.encode([1, 0, -3])).levels.tolist() == [1, 0, -3]
slow = [w for w in caught if "slow" in str(w.message)]
assert len(slow) == 1, caught
assert "C compiler" in str(slow[0].message)
"""
    subprocess.run([sys.executable, "-c", script], check=True, env={"PATH": ""}, timeout=120)


def test_interleaved_weights_come_to_their_places(monkeypatch):
    levels = np.rint(np.random.default_rng(9).laplace(0, 2, 5000)).astype(np.int8)
    record = egress.encode(levels, segment_weights=97, interleave=5)
    assert Header.unpack(record).interleave == 5
    for kernel in KERNELS:
        monkeypatch.setenv(kernels.VARIABLE, kernel)
        assert (egress.decode(record).levels == levels).all()
