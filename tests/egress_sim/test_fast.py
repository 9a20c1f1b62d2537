from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import egress
from egress.cli import main
from egress.record import Header, pack_segment
from egress_sim import compiled, fast, runner
from egress_sim.result import Mismatch
from egress_sim.shape import Shape
from egress_sim.simulate import fast_harness, simulate

from .repeater import REPEATER
from .test_simulate import CORE, model_stream

pytestmark = pytest.mark.cocotb

GOLDEN = Path(__file__).parents[2] / "bitstreams" / "golden"

ONE = Shape(lanes=1, output="float32", max_level_bits=8, buffer=9)


def damaged(stream: bytes, at: int) -> bytes:
    return stream[:at] + bytes([stream[at] ^ 4]) + stream[at + 1 :]


def bad_codeword() -> bytes:
    """A record whose second segment has no codeword at all."""
    stream = egress.encode(np.zeros(64, np.int8), segment_weights=16, code="eg")
    at = Header.unpack(stream).size + 8
    return stream[:at] + pack_segment(0, bytes(4), 1) + stream[at + 8 :]


STREAMS = {
    "several tensors": model_stream(20_000, 3, 777),
    "damaged": damaged(model_stream(4000, segment_weights=500), 600) + model_stream(3000),
    "broken": model_stream(5000) + bytes(40),
    "truncated": model_stream(5000)[:-40],
    "bad codeword": model_stream(100) + bad_codeword(),
}


@pytest.mark.parametrize("pauses", [{}, {"gaps": 0.6, "stalls": [0, 1, 1, 0, 1]}])
@pytest.mark.parametrize("name", STREAMS)
def test_both_engines_tell_the_same(name: str, pauses: Any):
    slow = simulate(STREAMS[name], **CORE, **pauses)
    quick = simulate(STREAMS[name], **CORE, **pauses, engine="fast")
    timeless = {"seconds": 0.0, "cpu_seconds": 0.0, "cycles_per_second": 0.0}
    assert replace(quick, **timeless) == replace(slow, **timeless)
    assert quick.ok == (name == "several tensors")


def test_engine_must_be_one_there_is():
    with pytest.raises(ValueError, match="engine must be cocotb or fast, not 'slow'"):
        simulate(bytes(4), engine="slow")  # pyright: ignore[reportArgumentType]


def test_every_wrong_weight_is_counted_and_the_first_is_placed(tmp_path):
    # A core that gives bfloat16 (3 steps of 2**-8) where levels are expected: zeros are the same.
    levels = np.zeros(3000, np.int8)
    levels[[1234, 1400, 2900]] = 3
    stream = model_stream(2) + egress.encode(levels, segment_weights=100)
    shape = Shape(lanes=4, output="level", max_level_bits=16, buffer=9)
    built = fast_harness(replace(shape, output="bfloat16"))
    tally, _ = fast.carry(built, stream, tmp_path, shape)
    assert (tally.records, tally.weights, tally.compared) == (2, 3002, 3002)
    # One of the first record's two weights is zero.
    assert tally.mismatches == 4
    assert tally.first == Mismatch(
        beat=0, lane=0, record=0, weight=0, expected="0x0003", given="0x3c40"
    )


@pytest.mark.parametrize("gaps", [None, 0.5])
@pytest.mark.parametrize("stalls", [None, [1, 1, 0]])
def test_driver_carries_every_word_and_counts_every_cycle(tmp_path, gaps, stalls):
    built = compiled.build(REPEATER, "repeater")
    stream = model_stream(10_000)
    words = len(stream) // 4
    tally, happened = fast.carry(built, stream, tmp_path, ONE, gaps=gaps, stalls=stalls)
    assert (happened.words, happened.beats) == (words, words)
    assert (happened.error, happened.reason, happened.error_segment) == (1, 7, 0x12345678)
    # The repeater gives words for weights: all are wrong, and as many as there are words come.
    assert tally.compared == words
    assert tally.mismatches >= 10_000
    assert tally.first
    assert (tally.first.beat, tally.first.lane, tally.first.weight) == (0, 0, 0)
    assert happened.stuck
    if gaps is None and stalls is None:
        assert (happened.first_beat, happened.cycles) == (1, words + 1)


def test_course_of_a_run_without_pauses_is_a_beat_a_cycle(tmp_path):
    built = compiled.build(REPEATER, "repeater")
    tally, _ = fast.carry(built, bytes(4 * 20_000), tmp_path, ONE)
    # The first beat is in cycle 1, and has one weight as all have.
    assert tally.course == tuple((n, n) for n in range(8, 20_001, 8))


def test_course_counts_the_weights_of_beats_that_are_not_full(tmp_path):
    # Segments for three lanes of four, then for two.
    shape = Shape(lanes=4, output="bfloat16", max_level_bits=16, buffer=9)
    stream = model_stream(30, 20, segment_weights=10)
    tally, happened = fast.carry(fast_harness(shape), stream, tmp_path, shape)
    assert [weights for _, weights in tally.course] == [*range(3, 31, 3), *range(32, 51, 2)]
    assert tally.course[0][0] == happened.first_beat
    assert tally.course[-1][0] == happened.cycles - 1


def test_inputs_of_what_is_driven_are_registered_and_all_other_ports_passed_on():
    text = """
module core(clk, word, valid);
  input clk;
  wire clk;
  input [31:0] word;
  wire [31:0] word;
  output valid;
  wire valid;
  function [1:0] choose;
    input [1:0] a;
    choose = a;
  endfunction
endmodule
"""
    assert compiled.driven(text, "core").split("\n") == [
        "",
        "module driven(input  clk, input [31:0] word, output  valid);",
        "reg [31:0] word_driven;",
        "always @(posedge clk) word_driven <= word;",
        "core core(.clk(clk), .word(word_driven), .valid(valid));",
        "endmodule",
        "",
    ]


def test_driver_that_cannot_be_compiled_is_told():
    text = "module nothing(input clk, output reg a); always @(posedge clk) a <= ~a; endmodule"
    with pytest.raises(runner.ToolError, match="could not build nothing"):
        compiled.build(text, "nothing")


def test_compiler_is_that_of_the_environment_or_clang_if_there_is_one(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    for found, name in ((None, "g++"), ("/usr/bin/clang++", "clang++")):
        monkeypatch.setattr(compiled.shutil, "which", lambda tool, found=found: found)
        assert compiled.compiler() == name
    monkeypatch.setenv("CXX", "g++-12")
    assert compiled.compiler() == "g++-12"


def test_compiler_may_be_a_command_of_several_words(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "env g++")
    assert compiled.build(REPEATER, "repeater", cache=tmp_path).is_file()


def test_compiler_that_does_not_run_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "missing-c++")
    with pytest.raises(runner.ToolError, match=r"the C\+\+ compiler missing-c\+\+ does not run"):
        compiled.build(REPEATER, "repeater")


def test_a_system_that_gives_no_larger_pipe_is_only_slower(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(fast.fcntl, "fcntl", refuse)
    assert simulate(model_stream(1000), **CORE, engine="fast").ok


def test_every_golden_file_is_decoded():
    # The long ones by no other bench without pauses.
    files = sorted(GOLDEN.glob("*.egs"))
    core: dict[str, Any] = {"lanes": 4, "output": "bfloat16", "max_level_bits": 16}
    for file in files:
        found = simulate(file.read_bytes(), **core, buffer="large", engine="fast")
        assert found.ok, (file.name, found)
        assert found.compared == np.load(file.with_suffix(".npy")).size
    assert len(files) > 30


def test_command_finds_what_the_golden_model_needs_and_compares_it_all(capsys):
    golden = GOLDEN / "model.egs"
    core = ["--lanes", "4", "--output", "bfloat16", "--buffer", "large"]
    assert main(["simulate", str(golden), *core, "--engine", "fast"]) == 0
    assert "19,911 of 19,911 weights compared, 0 differ" in capsys.readouterr().out
