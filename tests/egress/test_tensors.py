import numpy as np
import pytest
from safetensors.numpy import save_file

from egress.checkpoint import ContainerError
from egress.compress import compress_tensors
from egress.tensors import find_files, open_tensors

WEIGHTS = np.array([[0.5, -0.25, 0], [0.125, 0, 1]], np.float32)
LEVELS = np.array([[1, -2, 0], [300, 0, 5]], np.int16)


def matrices(path):
    with open_tensors(path) as file:
        read = [file.matrix(name) for name in file.names]
    return {matrix.name: matrix for matrix in read if matrix is not None}


def test_levels_are_read_from_npz_and_what_is_no_matrix_is_left_out(tmp_path):
    path = tmp_path / "levels.npz"
    extra = {"l__scale": np.ones(2), "_steps": np.array("{}"), "text": np.array([["a", "b"]])}
    np.savez_compressed(path, l=LEVELS, w=WEIGHTS, none=np.zeros((0, 4)), **extra)
    found = matrices(path)
    assert set(found) == {"l", "w"}
    assert found["l"].is_levels
    assert not found["w"].is_levels
    assert np.array_equal(found["l"].array, LEVELS)


def test_a_single_array_is_read_under_its_files_name(tmp_path):
    np.save(tmp_path / "one.npy", LEVELS)
    assert np.array_equal(matrices(tmp_path / "one.npy")["one"].array, LEVELS)


def test_safetensors_are_read_plain_and_compressed(tmp_path):
    tensors = {"w": WEIGHTS, "bias": np.ones(3, np.float32), "l": LEVELS}
    save_file(tensors, tmp_path / "plain")
    assert set(matrices(tmp_path / "plain")) == {"w", "l"}
    compress_tensors({"w": WEIGHTS}, tmp_path / "packed")
    packed = matrices(tmp_path / "packed")["w"]
    assert np.array_equal(packed.array, WEIGHTS * 256)
    assert packed.is_levels
    assert packed.record[:3] == b"EGR"


@pytest.mark.parametrize("old", [False, True])
def test_torch_files_are_read_with_nested_names(tmp_path, old):
    torch = pytest.importorskip("torch")
    state = {"model": {"w": torch.from_numpy(WEIGHTS), "half": torch.ones(2, 2).bfloat16()}}
    path = tmp_path / "model.pt"
    torch.save({**state, "epoch": 3}, path, _use_new_zipfile_serialization=not old)
    found = matrices(path)
    assert set(found) == {"model.w", "model.half"}
    assert np.array_equal(found["model.w"].array, WEIGHTS)


class Evil:
    def __reduce__(self):
        return (print, ("run",))


def test_a_torch_file_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.save({"w": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ContainerError, match=r"evil\.pt: not a torch file of plain tensors"):
        matrices(tmp_path / "evil.pt")
    np.save(tmp_path / "evil.npy", np.array([[Evil()]]), allow_pickle=True)
    with pytest.raises(ContainerError, match=r"evil\.npy: not a readable numpy file"):
        matrices(tmp_path / "evil.npy")
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04 and more", b"\x93NUMPY\x01", b"\x80\x02no", b"text, not tensors"]
)
def test_a_file_of_another_kind_is_told_by_name(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ContainerError, match="file: not a"):
        matrices(path)


def test_a_folder_stands_for_its_files(tmp_path):
    for name in ("b.npz", "a.safetensors", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_files([tmp_path])] == ["a.safetensors", "b.npz"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ContainerError, match=r"empty: no \.safetensors, .* is in this folder"):
        find_files([tmp_path / "empty"])
    with pytest.raises(ContainerError, match="absent: there is no such file"):
        find_files([tmp_path / "absent"])
