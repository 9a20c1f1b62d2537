import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import egress
from egress.checkpoint import ContainerError, TensorInfo, open_checkpoint
from egress.compress import CompressOptions, compress, compress_tensors, decompress
from egress.container import STAMP_KEY, open_container

RNG = np.random.default_rng(0)


def checkpoint() -> dict[str, np.ndarray]:
    weights = RNG.laplace(0, 0.05, (40, 64))
    return {
        "layer.weight": weights.astype(np.float32),
        "conv.weight": RNG.normal(0, 0.1, (8, 4, 3, 3)).astype(np.float32),
        "double": weights,
        "half": weights.astype(np.float16),
        "brain": weights.astype(ml_dtypes.bfloat16),
        "layer.bias": RNG.normal(size=40).astype(np.float32),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 7), np.float32),
        "ids": np.arange(12, dtype=np.int64).reshape(3, 4),
        "eight": weights[:4].astype(ml_dtypes.float8_e4m3fn),
        "mask": np.array([[True, False]]),
        "zeros": np.zeros((5, 5), np.float32),
        "naïve/名前": weights[:2].astype(np.float32),
    }


@pytest.fixture
def source(tmp_path) -> Path:
    save_file(checkpoint(), tmp_path / "in.safetensors", metadata={"made": "by hand"})
    return tmp_path / "in.safetensors"


def test_a_checkpoint_comes_back_with_every_name_shape_dtype_and_the_quantized_weights(source):
    packed, plain = source.with_name("out.safetensors"), source.with_name("plain.safetensors")
    compress(source, packed)
    decompress(packed, plain)
    with open_checkpoint(source) as file:
        before = {name: file.tensor(name) for name in file.names}
    with open_checkpoint(plain) as file:
        after = {name: file.tensor(name) for name in file.names}
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        assert after[name].shape == array.shape
        if name not in ("layer.bias", "scalar", "empty", "ids", "mask", "eight"):
            levels = egress.quantize(array, 2**-8, 16)
            assert (after[name] == egress.dequantize(levels, 2**-8, array.dtype)).all()
        else:
            assert after[name].tobytes() == array.tobytes()


def test_any_safetensors_reader_opens_the_result_and_metadata_is_kept(source):
    packed = source.with_name("out.safetensors")
    compress(source, packed)
    with open_checkpoint(packed) as file:
        arrays = {name: file.tensor(name) for name in file.names}
    assert arrays["layer.weight"].dtype == np.uint8
    assert egress.decode(arrays["layer.weight"].tobytes()).step == 2**-8
    with open_container(packed) as container:
        assert container.metadata["made"] == "by hand"
        assert container.compressed["half"] == TensorInfo("F16", (40, 64))
        names = list(container.compressed)
        assert names == sorted(names, key=str.encode)
        stream = b"".join(arrays[name].tobytes() for name in names)
        assert container.stream() == stream


def test_nothing_is_clipped_unless_the_level_width_is_given(tmp_path):
    weights = np.full((4, 4), 10.0, np.float32)
    free = compress_tensors({"w": weights}, tmp_path / "a")
    tight = compress_tensors({"w": weights}, tmp_path / "b", CompressOptions(level_bits=8))
    assert (free[0].level_bits, free[0].clipped, free[0].mse) == (16, 0, 0.0)
    assert (tight[0].level_bits, tight[0].clipped) == (8, 16)


@pytest.mark.parametrize("sqnr_db", [20.0, 35.0])
def test_the_automatic_step_meets_its_signal_to_noise_ratio(tmp_path, sqnr_db):
    weights = RNG.normal(0, 3e-3, (300, 300)).astype(np.float32)
    options = CompressOptions(step="auto", sqnr_db=sqnr_db)
    entry = compress_tensors({"w": weights}, tmp_path / "a", options)[0]
    assert 10 * np.log10(np.mean(weights**2) / entry.mse) == pytest.approx(sqnr_db, abs=0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [2.0**-8, "auto"])
def test_weights_that_are_not_finite_are_named(tmp_path, bad, step):
    weights = np.zeros((3, 5), np.float32)
    weights[1, 2] = bad
    save_file({"fine": np.ones((2, 2), np.float32), "w": weights}, tmp_path / "in")
    with pytest.raises(ContainerError) as caught:
        compress(tmp_path / "in", tmp_path / "out", CompressOptions(step=step))
    assert str(caught.value) == (
        f"{tmp_path / 'in'}: tensor 'w': weights must be finite: 1 are NaN or infinite, "
        "the first at (1, 2)"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_weights_in_any_memory_order_are_the_same(tmp_path):
    weights = RNG.normal(0, 0.1, (20, 30)).astype(np.float32)
    compress_tensors({"w": weights}, tmp_path / "a")
    compress_tensors({"w": np.asfortranarray(weights)}, tmp_path / "b")
    compress_tensors({"w": np.repeat(weights, 2, 1)[:, ::2]}, tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


def _damage(path: Path, change) -> None:
    with open_checkpoint(path) as file:
        metadata = file.metadata
        arrays = {name: file.tensor(name) for name in file.names}
    stamp = json.loads(metadata[STAMP_KEY])
    change(arrays, stamp)
    metadata[STAMP_KEY] = json.dumps(stamp)
    save_file(arrays, path, metadata=metadata)


def _flip(record, at):
    return np.where(np.arange(len(record)) == at, record ^ 1, record)


def _entry(stamp, name, **entry) -> None:
    stamp["tensors"][name] = stamp["tensors"].get(name, {"dtype": "F32", "shape": [1]}) | entry


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, s: s.update(format=2), "format 2; this version of Egress reads 1"),
        (lambda a, s: s.clear(), "the file's table of tensors cannot be read"),
        (lambda a, s: s.update(tensors=[1]), "the file's table of tensors cannot be read"),
        (lambda a, s: s.update(tensors={"a": 3}), "the file's table of tensors cannot be read"),
        (
            lambda a, s: a.pop("half"),
            "the file's table of tensors names 'half', which is not in the file",
        ),
        (
            lambda a, s: _entry(s, "half", dtype="I8"),
            "the file's table of tensors gives 'half' the dtype 'I8'",
        ),
        (
            lambda a, s: _entry(s, "half", shape=[-1]),
            "the file's table of tensors gives 'half' the shape (-1,)",
        ),
        (lambda a, s: _entry(s, "ids"), "tensor 'ids' must be one-dimensional U8, not I64 of"),
        (lambda a, s: _entry(s, "half", shape=[40, 63]), "tensor 'half' has 2560 weights, its sha"),
        (
            lambda a, s: a.update(half=np.append(a["half"], np.uint8(0))),
            "tensor 'half': bad length at bit",
        ),
        (lambda a, s: a.update(half=a["half"][:-4]), "tensor 'half': truncated at bit"),
        (
            lambda a, s: a.update(half=_flip(a["half"], 99)),
            "tensor 'half': bad segment CRC at segment 0",
        ),
        (
            lambda a, s: a.update(half=_flip(a["half"], 0)),
            "tensor 'half': bad magic at bit 0 (byte 0): a",
        ),
    ],
)
def test_a_damaged_container_is_refused_and_the_output_is_left_alone(source, change, message):
    packed, plain = source.with_name("out"), source.with_name("plain")
    compress(source, packed)
    plain.write_text("precious")
    _damage(packed, change)
    with pytest.raises(ContainerError) as caught:
        decompress(packed, plain)
    assert str(caught.value).startswith(f"{packed}: {message}")
    assert plain.read_text() == "precious"
    assert not list(source.parent.glob(".*"))


@pytest.mark.parametrize("size", [0, 3, 100, 5000])
def test_a_truncated_file_is_refused(source, size):
    packed = source.with_name("out")
    compress(source, packed)
    packed.write_bytes(packed.read_bytes()[:size])
    with pytest.raises(ContainerError, match="not a readable safetensors file"):
        decompress(packed, source.with_name("plain"))


def test_a_full_disk_leaves_the_output_as_it_was(source):
    # A file-size limit stops the write as a full disk does; the real error number differs.
    code = (
        "import resource, signal, sys; from egress.cli import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        f"sys.exit(main(['compress', {str(source)!r}, '-o', {str(source.with_name('out'))!r}]))"
    )
    source.with_name("out").write_text("precious")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert os.strerror(errno.EFBIG) in done.stderr
    assert "Traceback" not in done.stderr
    assert source.with_name("out").read_text() == "precious"
    assert not list(source.parent.glob(".*"))


def test_a_killed_process_leaves_the_output_as_it_was(tmp_path):
    save_file({"w": RNG.normal(0, 0.1, (400, 400)).astype(np.float32)}, tmp_path / "in")
    (tmp_path / "out").write_text("precious")
    # The latest moment: everything is written, and has not taken the name yet.
    program = (
        "import os, signal, sys\n"
        "from egress.cli import main\n"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.argv[1:] = ['compress', 'in', '-o', 'out']\n"
        "main()\n"
    )
    process = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "out").read_text() == "precious"
