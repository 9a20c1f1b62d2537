"""A short run of the fuzzer of `make fuzz`: the compiled codec under sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORPUS = sorted((ROOT / "tests/fuzz/corpus").iterdir())
OPTIONS = ["-g", "-O1", "-std=gnu11", "-DALONE", "-fno-sanitize-recover=all"]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    program = tmp_path_factory.mktemp("fuzz") / "kernel_fuzz"
    kernel = ROOT / "sw/kernel"
    sources = [path for path in kernel.glob("*.c") if not path.name.endswith("module.c")]
    command = [compiler, *OPTIONS, "-fsanitize=address,undefined", f"-I{kernel}", "-o", program]
    built = subprocess.run(
        [*command, ROOT / "tests/fuzz/kernel_fuzz.c", *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    if "asan" in built.stderr and "cannot find" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    return program


def test_sanitizers_find_nothing_and_all_kernels_agree_with_the_plain_codec(fuzzer):
    run = subprocess.run(
        [fuzzer, "-30000", *CORPUS], capture_output=True, text=True, timeout=500, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert f"{len(CORPUS)} files and 30000 more inputs: nothing found" in run.stdout
