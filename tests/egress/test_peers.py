import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from egress.errors import ToolError
from egress.measure import measure
from egress.peers import VARIABLE, WORKER, Peers, find_interpreters

LEVELS = np.rint(np.random.default_rng(0).laplace(0, 3, (40, 50))).astype(np.int8)
WIDE = np.append(LEVELS.astype(np.int16), np.full((1, 50), 400, np.int16), axis=0)


@pytest.fixture
def peers():
    with Peers([sys.executable]) as found:
        yield found


@pytest.mark.parametrize("levels", [LEVELS, WIDE], ids=["int8", "int16"])
def test_every_peer_that_is_here_decodes_what_it_encoded(levels):
    with Peers() as peers, peers.shared(levels) as path:
        for codec in peers.versions:
            first, second = peers.code(codec, path), peers.code(codec, path)
            assert first.bits == second.bits > levels.size, codec
            assert second.encode > 0
            assert second.decode > 0


def test_sizes_are_those_of_the_codec_called_directly(peers):
    with peers.shared(LEVELS) as path:
        assert peers.code("zlib -6", path).bits == 8 * len(zlib.compress(LEVELS.tobytes(), 6))


def test_bitarray_codes_exp_golomb_of_order_0_as_long_as_measured(peers):
    pytest.importorskip("bitarray")
    with peers.shared(LEVELS) as path:
        assert peers.code("bitarray EG0", path).bits == measure(LEVELS).eg[0]


def test_levels_that_mlw_codec_cannot_hold_are_clipped_and_counted():
    with Peers() as peers, peers.shared(WIDE) as path:
        if "mlw_codec" not in peers.versions:
            pytest.skip(f"ethos-u-vela is not installed: see `make peers` and {VARIABLE}")
        assert peers.code("mlw_codec", path).clipped == 50


def test_the_worker_needs_nothing_of_this_project():
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code, WORKER], capture_output=True, text=True, check=True
    )
    assert not any(name.startswith("egress.") for name in loaded.stdout.split())


def test_what_goes_wrong_in_a_peer_is_told(peers):
    with peers.shared(np.zeros((0, 2), np.int8)) as path:
        with pytest.raises(ToolError, match=r"^zlib -6: ValueError: "):
            peers.code("zlib -6", path)


def test_an_interpreter_that_does_not_answer_has_no_peers(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    with Peers([broken]) as peers:
        assert "zlib -6" in peers.versions


def test_interpreters_are_named_one_by_one_by_folder_or_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    own = Path(sys.executable)
    assert find_interpreters() == [own]
    pythons = [tmp_path / name / "bin" / "python" for name in ("a", "b")]
    for path in pythons:
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    assert find_interpreters([tmp_path]) == [own, *pythons]
    assert find_interpreters([pythons[1]]) == [own, pythons[1]]
    monkeypatch.setenv(VARIABLE, f"{pythons[1]}:{pythons[0]}")
    assert find_interpreters() == [own, pythons[1], pythons[0]]
    with pytest.raises(ToolError, match="no: neither a Python interpreter nor a folder"):
        find_interpreters([tmp_path / "no"])
