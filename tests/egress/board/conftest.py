from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import egress
from egress.board.connection import Connection
from egress.board.port import Timing
from egress.cli import main

from .device import Cable, Device, hello

# The scalar model may be slow; what waits for it in vain has few tries.
QUICK = Timing(answer_s=0.05, tries=24, return_s=60, settle_s=0.1, stall_s=2, poll_s=0.005)
IMPATIENT = replace(QUICK, tries=3)


@pytest.fixture
def cable(tmp_path):
    with Cable(tmp_path / "board", Device(hello())) as cable:
        yield cable


@pytest.fixture
def connection(cable):
    with Connection(str(cable.path), QUICK) as connection:
        yield connection


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.laplace(0, 0.02, shape).astype(np.float32)
        for name, shape in {"conv": (40, 50), "head": (10, 20)}.items()
    }
    save_file(tensors, "model.safetensors")
    assert main(["compress", "model.safetensors", "-o", "model.egress.safetensors"]) == 0
    return Path("model.egress.safetensors")


def records(*sizes, seed=0, **options):
    draw = np.random.default_rng(seed)
    return [
        egress.encode(
            np.rint(draw.laplace(0, 1.2, size)).clip(-127, 127).astype(np.int8), **options
        )
        for size in sizes
    ]
