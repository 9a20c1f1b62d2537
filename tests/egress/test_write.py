"""Every kernel writes the bits of the scalar reference, or refuses what it refuses."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from egress import Mode, Setting, kernels, payloads
from egress.record import pack_segment
from egress.reference import encode_segment
from egress.write import write_segments
from tests.egress.strategies import levels_for, settings_of

all_kernels = pytest.mark.parametrize("kernel", kernels.available())


@pytest.fixture
def use(monkeypatch):
    """Set the kernel."""
    return lambda kernel: monkeypatch.setenv(kernels.VARIABLE, kernel)


def padded(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 32)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def _can_be_written(levels, setting, level_bits):
    try:
        encode_segment(levels, setting, level_bits)
    except ValueError as error:
        return "needs slot" not in str(error)
    return True


@st.composite
def jobs(draw):
    """Level width, settings, and the levels and setting of each of some segments."""
    level_bits = draw(st.sampled_from((8, 16)))
    some = draw(st.lists(settings_of(level_bits), min_size=1, max_size=4))
    segments = []
    for _ in range(draw(st.integers(1, 6))):
        which = draw(st.integers(0, len(some) - 1))
        levels = draw(levels_for(some[which], level_bits))
        # Runs that need the longest run's codeword, and tables of runs.
        zeros = draw(st.sampled_from((0, 0, 0, 70, 255, 256, 257, 4095, 4096, 4097, 8192)))
        if some[which].mode is not Mode.RAW and zeros:
            at = draw(st.integers(0, len(levels)))
            levels = levels[:at] + [0] * zeros + levels[at:]
        # Before a magnitude above one, 4092 zeros or more may need a slot that no encoder writes.
        assume(_can_be_written(levels, some[which], level_bits))
        segments.append((which, levels))
    return level_bits, some, segments


def arrays(level_bits, some, segments):
    """Arguments of `write_segments`, and what it must return."""
    dealt = np.array([v for _, levels in segments for v in levels], f"int{level_bits}")
    coded = [encode_segment(levels, some[which], level_bits) for which, levels in segments]
    counts = np.array([len(levels) for _, levels in segments])
    index = np.array([which for which, _ in segments])
    bits = np.array([len(c) for c in coded])
    expected = b"".join(
        pack_segment(which, padded(c), number)
        for number, ((which, _), c) in enumerate(zip(segments, coded, strict=True))
    )
    return (dealt, counts, some, index, bits), expected


@all_kernels
@pytest.mark.parametrize("threads", [1, 2])
def test_segments_are_the_references(kernel, threads, use):
    use(kernel)

    @settings(deadline=None)
    @given(jobs())
    def check(job):
        if any(len(encode_segment(v, job[1][i], job[0])) > 65536 for i, v in job[2]):
            return
        arguments, expected = arrays(*job)
        assert write_segments(*arguments, threads=threads).tobytes() == expected

    check()


def _codes_zeros(setting: Setting) -> bool:
    """Whether a segment of one zero has a codeword, so that the second is the one refused."""
    try:
        return bool(encode_segment([0], setting))
    except ValueError:
        return False


@all_kernels
def test_any_setting_writes_or_refuses_as_the_reference_does(kernel, use):
    use(kernel)
    level_bits = st.sampled_from((8, 16))

    @settings(deadline=None, max_examples=200)
    @given(
        level_bits.flatmap(
            lambda b: st.tuples(
                st.just(b),
                settings_of(b, any_code=True).filter(_codes_zeros),
                levels_for(Setting.exp_golomb(0), b),
                st.sampled_from((0, 300, 5000)),
            )
        )
    )
    def check(case):
        bits, setting, levels, zeros = case
        levels = [0] * zeros + levels
        refused = ""
        try:
            encode_segment(levels, setting, bits)
        except ValueError as error:
            refused = str(error)
        if refused:
            dealt, ones = np.array([0, *levels], f"int{bits}"), np.ones(2, np.int64)
            with pytest.raises(ValueError, match=r"segment 1: ") as caught:
                write_segments(dealt, np.array([1, len(levels)]), [setting], 0 * ones, ones)
            assert str(caught.value) == f"segment 1: {refused}"
            return
        arguments, expected = arrays(bits, [setting], [(0, [0]), (0, levels)])
        if len(expected) <= 8192:
            assert write_segments(*arguments).tobytes() == expected

    check()


@all_kernels
@pytest.mark.parametrize("level_bits", [8, 16])
@pytest.mark.parametrize("scale", [0.05, 0.2, 0.5, 1.5, 5, 20, 4000])
def test_large_segments_of_every_mode_are_numpys(kernel, level_bits, scale, use):
    rng = np.random.default_rng(7)
    most = (1 << (level_bits - 1)) - 1
    dealt = np.clip(np.rint(rng.laplace(0, scale, 20_000)), -most, most).astype(f"int{level_bits}")
    # Here and there a level that is far from all others.
    dealt[10_000::97] = min(300, most)
    some = [
        Setting.exp_golomb(min(6, round(np.log2(scale + 1)))),
        Setting(Mode.RAW, order=level_bits - 1),
        Setting(Mode.ZERO_RUN, 2, 3, first=2, magnitude_order=4, magnitude_head=2),
        Setting(Mode.JOINT, 2, 3, magnitude_order=3, magnitude_half=True, threshold=2, stride=4),
    ]
    counts = np.full(20, 1000)
    index = np.arange(20) % 4
    # numpy's own lengths, of segments in turn.
    parts = [(int(i), dealt[1000 * n : 1000 * n + 1000].tolist()) for n, i in enumerate(index)]
    bits = np.array([len(encode_segment(v, some[i], level_bits)) for i, v in parts])
    use("numpy")
    expected = write_segments(dealt, counts, some, index, bits)
    use(kernel)
    assert (write_segments(dealt, counts, some, index, bits, threads=2) == expected).all()


@all_kernels
def test_segment_numbers_go_on_beyond_16_bits(kernel, use):
    use(kernel)
    many = 66_000
    dealt, ones = np.ones(many, np.int8), np.ones(many, np.int64)
    data = write_segments(dealt, ones, [Setting.exp_golomb(0)], 0 * ones, 3 * ones).tobytes()
    assert data[-8:] == pack_segment(0, bytes.fromhex("40000000"), many - 1)


@all_kernels
@pytest.mark.parametrize(
    ("dtype", "level", "setting", "message"),
    [
        (np.int8, -128, Setting.exp_golomb(0), "level 2 must be within -127..127, not -128"),
        (
            np.int16,
            -32768,
            Setting(Mode.JOINT),
            "level 2 must be within -32767..32767, not -32768",
        ),
        (np.int8, 8, Setting(Mode.RAW, order=2), "level 2 must fit 3 raw bits, not 8"),
        (
            np.int8,
            2,
            Setting(Mode.JOINT, stride=None),
            "level 2 has no codeword in a joint setting without a stride",
        ),
    ],
)
def test_a_level_that_cannot_be_coded_is_refused(kernel, dtype, level, setting, message, use):
    use(kernel)
    dealt = np.array([1, 1, 0, 0, level], dtype)
    twos = np.array([2, 3])
    with pytest.raises(ValueError, match=r"segment 1: ") as caught:
        write_segments(dealt, twos, [setting], 0 * twos, 8 * twos)
    assert str(caught.value) == f"segment 1: {message}"


@all_kernels
def test_a_wrong_length_is_refused_and_nothing_else_is_written(kernel, use):
    use(kernel)
    dealt, counts = np.ones(200, np.int8), np.array([100, 100])
    zeros = 0 * counts
    with pytest.raises(ValueError, match="segment 1 has 10 words, not 9"):
        write_segments(dealt, counts, [Setting.exp_golomb(0)], zeros, np.array([300, 288]))
    with pytest.raises(ValueError, match="segment 0 has 10 words, not 11"):
        write_segments(dealt, counts, [Setting.exp_golomb(0)], zeros, np.array([321, 300]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"dealt": np.ones(4)}, TypeError, "levels must be int8 or int16, not float64"),
        ({"dealt": np.ones(5, np.int8)}, ValueError, "segments hold 4 levels, 5 are there"),
        ({"index": np.array([0, 1])}, ValueError, "a segment's setting must be within 0..0, not 1"),
        (
            {"counts": np.array([4, 0])},
            ValueError,
            "levels of a segment must be within 1..65535, not 0",
        ),
        (
            {"bits": np.array([6, 0])},
            ValueError,
            "words of a payload must be within 1..2048, not 0",
        ),
        (
            {"settings": [Setting.exp_golomb(0)] * 5},
            ValueError,
            "number of settings must be within 1..4, not 5",
        ),
        (
            {"counts": np.array([4])},
            ValueError,
            "levels must have one dimension; counts, index and bits one and the same",
        ),
        (
            {"out": np.zeros(15, np.uint8)},
            ValueError,
            "out must be 16 bytes in one piece, not (15,)",
        ),
        ({"threads": 0}, ValueError, "threads must be 1 or more, not 0"),
        (
            {"settings": [Setting(Mode.RAW, order=12)]},
            ValueError,
            "raw width must be at most 8, not 13",
        ),
    ],
)
def test_a_wrong_argument_is_refused(change, error, message):
    arguments = {
        "dealt": np.ones(4, np.int8),
        "counts": np.array([2, 2]),
        "settings": [Setting.exp_golomb(0)],
        "index": np.array([0, 0]),
        "bits": np.array([6, 6]),
    }
    with pytest.raises(error) as caught:
        write_segments(**{**arguments, **change})
    assert str(caught.value) == message


@pytest.mark.skipif(not kernels.compiled, reason="no compiled codec")
def test_the_compiled_encoder_takes_no_number_on_trust():
    levels, counts = np.ones(4, np.int8), np.array([2, 2])
    zeros, ones = np.zeros(2, np.int64), np.ones(2, np.int64)
    packed = np.array([Setting.exp_golomb(0).pack()], np.uint32)
    out = np.zeros(16, np.uint8)
    good = [levels, 8, counts, zeros, ones, 0, packed, out, 0]
    assert kernels.compiled.encode(*good) == -1
    for place, wrong in (
        (0, np.ones(5, np.int8)),
        (0, np.ones(3, np.int8)),
        (1, 7),
        (2, np.array([2, 3])),
        (2, np.array([2, -2])),
        (2, np.array([4])),
        (3, np.array([0, 1])),
        (3, np.array([-1, 0])),
        (6, np.zeros(0, np.uint32)),
        (6, np.zeros(5, np.uint32)),
        (6, np.array([Setting(Mode.RAW, order=8).pack()], np.uint32)),
        (7, np.zeros(15, np.uint8)),
        (7, np.zeros(20, np.uint8)),
        (7, np.zeros(0, np.uint8)),
    ):
        arguments = list(good)
        arguments[place] = wrong
        with pytest.raises(ValueError, match="arrays and numbers do not agree"):
            kernels.compiled.encode(*arguments)


def test_numpys_blocks_do_not_change_what_is_written(use, monkeypatch):
    use("numpy")
    dealt, counts = np.arange(-60, 60, dtype=np.int8), np.full(6, 20)
    some = [Setting.exp_golomb(2), Setting(Mode.RAW, order=6)]
    index = np.array([0, 1, 0, 0, 1, 1])
    parts = [(int(i), dealt[20 * n : 20 * n + 20].tolist()) for n, i in enumerate(index)]
    arguments, expected = arrays(8, some, parts)
    monkeypatch.setattr(payloads, "_BLOCK", 128)
    assert (arguments[1] == counts).all()
    assert write_segments(*arguments).tobytes() == expected
