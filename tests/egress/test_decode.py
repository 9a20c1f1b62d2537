"""Decoding into buffers, as weights, by range and piece by piece."""

import doctest
import io
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import egress
from egress import BitstreamError, Reason, kernels
from egress.checkpoint import ContainerError
from egress.compress import compress_tensors
from egress.container import open_container
from egress.quantize import dequantize

RNG = np.random.default_rng(0)
LEVELS = np.rint(RNG.laplace(0, 2, 20_000)).clip(-127, 127).astype(np.int8)
WIDE = np.rint(RNG.laplace(0, 900, 5000)).clip(-32767, 32767).astype(np.int16)
STEP = 0.0390625

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]

RECORDS = {
    "in order": (LEVELS, egress.encode(LEVELS, step=STEP, profile="small")),
    "interleaved": (LEVELS, egress.encode(LEVELS, step=STEP, segment_weights=300, interleave=7)),
    "wide": (WIDE, egress.encode(WIDE, step=STEP, level_bits=16)),
    "wide, interleaved": (
        WIDE,
        egress.encode(WIDE, step=STEP, level_bits=16, segment_weights=100, interleave=16),
    ),
}


@pytest.fixture(params=kernels.available())
def kernel(request, monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, request.param)
    return request.param


@pytest.fixture(params=RECORDS)
def case(request):
    return RECORDS[request.param]


@pytest.mark.parametrize("name", ["decode", "pieces", "kernels"])
def test_examples_of_the_documentation_hold(name):
    results = doctest.testmod(sys.modules[f"egress.{name}"])
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_weights_of_a_dtype_are_those_of_dequantize(kernel, case, dtype):
    levels, record = case
    expected = dequantize(levels, STEP, dtype)
    got = egress.decode_weights(record, dtype=dtype)
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()
    out = np.empty(len(levels), dtype)
    assert egress.decode_weights(record, out, threads=2) is out
    assert out.tobytes() == expected.tobytes()


def test_extreme_steps_give_exact_weights(kernel):
    for step in (2.0**-126, 2.0**-120 * 1.9921875, 2.0**118):
        for levels in (LEVELS[:500], WIDE[:500]):
            bits = 8 * levels.itemsize
            if step > 1 and bits == 16:
                continue
            record = egress.encode(levels, step=step, level_bits=bits)
            for dtype in (np.float32, ml_dtypes.bfloat16):
                got = egress.decode_weights(record, dtype=dtype)
                assert got.tobytes() == dequantize(levels, step, dtype).tobytes()


def test_levels_go_into_any_writable_buffer(kernel):
    record = RECORDS["in order"][1]
    outs: list[Any] = [
        np.empty(len(LEVELS), np.int8),
        np.empty((100, 200), np.int8),
        memoryview(bytearray(len(LEVELS))).cast("b"),
    ]
    for out in outs:
        assert egress.decode(record, out).levels is out
        assert bytes(memoryview(out).cast("B")) == LEVELS.tobytes()
    weights = bytearray(4 * len(LEVELS))
    egress.decode_weights(record, weights, dtype="float32")
    assert bytes(weights) == dequantize(LEVELS, STEP).tobytes()


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64"])
def test_weights_go_into_tensors(kernel, name):
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, name)
    expected = torch.from_numpy(dequantize(LEVELS, STEP)).to(dtype)
    record = RECORDS["in order"][1]
    made = egress.decode_weights(record, dtype=dtype)
    assert made.dtype == dtype
    assert torch.equal(made, expected)
    parameter = torch.nn.Parameter(torch.empty(100, 200, dtype=dtype))
    assert egress.decode_weights(record, parameter) is parameter
    assert torch.equal(parameter.detach().reshape(-1), expected)
    levels = torch.empty(len(LEVELS), dtype=torch.int8)
    egress.decode(record, levels)
    assert torch.equal(levels, torch.from_numpy(LEVELS))
    with pytest.raises(ValueError, match="in one piece"):
        egress.decode_weights(record, torch.empty(200, 100, dtype=dtype).T)


class Nothing:
    pass


@pytest.mark.parametrize(
    ("out", "dtype", "error", "message"),
    [
        (np.empty(3, np.int8), None, ValueError, "out must have 20000 elements, not 3"),
        (
            np.empty(20_000, np.int16),
            None,
            TypeError,
            "the record's levels are int8: out cannot be int16",
        ),
        (
            np.empty(20_000, np.uint32),
            None,
            TypeError,
            "values can be decoded to int8, float32, bfloat16, float16 or float64, not uint32",
        ),
        (
            np.empty(40_000, np.int8)[::2],
            None,
            ValueError,
            "out must be in one piece of memory, in row-major order and aligned",
        ),
        (bytes(20_000), "int8", TypeError, "out must be writable"),
        (np.empty(20_000, np.float32), "float64", TypeError, "out must be of dtype float64, not f"),
        (Nothing(), None, TypeError, "out must be a writable buffer, not Nothing"),
        (None, "colour", TypeError, "dtype must be float32, bfloat16, float16 or float64 or that"),
        (None, np.int16, TypeError, "the record's levels are int8: out cannot be int16"),
    ],
)
def test_an_out_that_does_not_fit_is_refused(out, dtype, error, message):
    with pytest.raises(error) as caught:
        egress.decode_range(RECORDS["in order"][1], 0, 20_000, out, dtype=dtype)
    assert str(caught.value).startswith(message)


def test_threads_must_be_one_or_more():
    with pytest.raises(ValueError, match="threads must be 1 or more, not 0"):
        egress.decode(RECORDS["in order"][1], threads=0)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", RECORDS)
def test_any_range_is_that_part_of_the_tensor(name, data):
    levels, record = RECORDS[name]
    start = data.draw(st.integers(0, len(levels)))
    stop = data.draw(st.integers(start, len(levels)))
    dtype = data.draw(st.sampled_from([None, np.float32, ml_dtypes.bfloat16, np.float16]))
    expected = levels if dtype is None else dequantize(levels, STEP, dtype)
    for kernel in kernels.available():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(kernels.VARIABLE, kernel)
            got = egress.decode_range(record, start, stop, dtype=dtype)
            assert got.tobytes() == expected[start:stop].tobytes()
            out = np.empty(stop - start, expected.dtype)
            egress.decode_range(record, start, stop, out)
            assert out.tobytes() == got.tobytes()


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 2), (0, 20_001)])
def test_a_range_outside_the_tensor_is_refused(start, stop):
    with pytest.raises(IndexError, match=r"must be within the record's 0 to 20000"):
        egress.decode_range(RECORDS["in order"][1], start, stop)


def test_a_range_needs_none_of_the_other_segments(kernel):
    record = bytearray(RECORDS["in order"][1])
    segments = egress.Segments(bytes(record))
    record[int(segments._start[2]) + 9] ^= 4
    size = segments.header.segment_weights
    got = egress.decode_range(bytes(record), 3 * size, 4 * size)
    assert (got == LEVELS[3 * size : 4 * size]).all()
    with pytest.raises(BitstreamError) as caught:
        egress.decode_range(bytes(record), 2 * size, 4 * size)
    assert caught.value.reason is Reason.BAD_SEGMENT_CRC
    assert caught.value.segment == 2


def test_bytes_after_the_record_are_refused_after_what_is_wrong_with_it(kernel):
    record = bytearray(RECORDS["in order"][1])
    with pytest.raises(BitstreamError, match="2 bytes follow the record"):
        egress.decode(record + b"ab")
    record[-1] ^= 1
    with pytest.raises(BitstreamError, match="damaged"):
        egress.decode(record + b"ab")


class Trickle:
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.largest = 0

    def read(self, size: int, /) -> bytes:
        self.largest = max(self.largest, size)
        size = min(size, 1000)
        data, self.data = self.data[:size], self.data[size:]
        return data


@pytest.mark.parametrize("piece_weights", [1, 3000, 1 << 22])
@pytest.mark.parametrize("dtype", [None, np.float32])
def test_pieces_together_are_the_stream(kernel, piece_weights, dtype):
    stream = b"".join(record for _, record in RECORDS.values())
    got = {}
    for piece in egress.iter_stream(Trickle(stream), piece_weights=piece_weights, dtype=dtype):
        parts = got.setdefault(piece.record, [])
        assert piece.start == sum(map(len, parts))
        assert piece.header.weights in (len(LEVELS), len(WIDE))
        parts.append(piece.values)
    assert list(got) == [0, 1, 2, 3]
    for parts, (levels, _) in zip(got.values(), RECORDS.values(), strict=True):
        expected = levels if dtype is None else dequantize(levels, STEP)
        assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_a_piece_asks_for_no_more_than_it_needs():
    levels = np.zeros(3_000_000, np.int8)
    file = Trickle(egress.encode(levels) * 4)
    largest = max(len(p.values) for p in egress.iter_stream(file, piece_weights=100_000))
    assert largest <= 100_000
    assert file.largest <= 1 << 20


def test_damage_in_a_stream_is_told_from_its_start_and_after_the_good_pieces(kernel):
    first, second = RECORDS["in order"][1], RECORDS["in order"][1]
    for at, reason in ((len(first) // 2, Reason.BAD_SEGMENT_CRC), (1, Reason.BAD_MAGIC)):
        stream = bytearray(first + second)
        stream[len(first) + at] ^= 1
        expected = None
        try:
            list(egress.decode_stream(bytes(stream)))
        except BitstreamError as error:
            expected = error
        good = []
        pieces = egress.iter_stream(io.BytesIO(stream), piece_weights=1)
        with pytest.raises(BitstreamError) as caught:
            good.extend(piece.values for piece in pieces)
        assert caught.value.reason is reason
        assert str(caught.value) == str(expected)
        assert sum(map(len, good)) >= len(LEVELS)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_damage_makes_a_stream_of_pieces_do_anything_but_decode_or_refuse(data):
    stream = bytearray(RECORDS["interleaved"][1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(stream) - 1))
        match data.draw(st.sampled_from(("set", "cut", "insert"))):
            case "set":
                stream[at] = data.draw(st.integers(0, 255))
            case "cut":
                del stream[at : at + data.draw(st.integers(1, 3000))]
            case _:
                stream[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        if not stream:
            break
    total = 0
    try:
        for piece in egress.iter_stream(io.BytesIO(stream), piece_weights=500):
            total += len(piece.values)
    except BitstreamError:
        pass
    assert total <= 8192 * len(stream)


def test_every_truncation_of_a_stream_of_pieces_is_refused(kernel):
    record = egress.encode(LEVELS[:2000], segment_weights=200)
    for size in range(1, len(record)):
        with pytest.raises(BitstreamError) as caught:
            list(egress.iter_stream(io.BytesIO(record[:size]), piece_weights=400))
        assert caught.value.reason is Reason.TRUNCATED
    assert list(egress.iter_stream(io.BytesIO(b""))) == []


@pytest.fixture
def container(tmp_path):
    weights = RNG.laplace(0, 0.05, (64, 40, 3)).astype(np.float32)
    compress_tensors({"w": weights, "bias": weights[0, 0]}, tmp_path / "model")
    with open_container(tmp_path / "model") as file:
        yield file


def test_rows_and_pieces_of_a_container_are_those_of_its_tensor(kernel, container):
    whole = container.tensor("w")
    assert whole.shape == (64, 40, 3)
    assert (container.rows("w", 5, 9) == whole[5:9]).all()
    assert container.rows("w", 5, 5).shape == (0, 40, 3)
    pieces = list(container.pieces("w", piece_weights=1000))
    assert np.concatenate([p.values for p in pieces]).tobytes() == whole.tobytes()
    with pytest.raises(IndexError, match=r"'w' of shape \[64, 40, 3\] has no rows 60 to 65"):
        container.rows("w", 60, 65)


def test_damage_in_a_container_names_the_tensor(kernel, tmp_path):
    compress_tensors({"w": np.ones((30, 30), np.float32)}, tmp_path / "model")
    data = bytearray((tmp_path / "model").read_bytes())
    data[-5] ^= 1
    (tmp_path / "model").write_bytes(data)
    with open_container(tmp_path / "model") as file:
        for read in (
            lambda: file.tensor("w"),
            lambda: file.rows("w", 0, 1),
            lambda: file.record("w"),
            lambda: list(file.pieces("w")),
        ):
            with pytest.raises(ContainerError, match="model: tensor 'w': bad segment CRC at segm"):
                read()
