import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import egress
from egress.board.errors import BoardError
from egress.board.program import command, program
from egress.cli import main, parser
from egress.errors import ToolError

from .conftest import QUICK
from .device import Cable, Device, hello

ACTIONS = ("load", "verify", "read", "bench", "program")


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_help_with_examples_that_parse(capsys, action):
    with pytest.raises(SystemExit) as caught:
        main(["board", action, "--help"])
    assert caught.value.code == 0
    examples = capsys.readouterr().out.split("examples:")[1].strip().splitlines()
    assert examples
    for line in examples:
        parser().parse_args(line.split()[1:])


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


@pytest.fixture
def port(cable, monkeypatch) -> str:
    monkeypatch.setattr("egress.board.connection.Timing", lambda: QUICK)
    return str(cable.path)


def run_json(capsys, *arguments, code=0):
    assert main(["board", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_verify_names_every_tensor(model, port, capsys):
    capsys.readouterr()
    found = run_json(capsys, "verify", model, "--port", port)
    assert found["verified"] is True
    assert [tensor["name"] for tensor in found["tensors"]] == ["conv", "head"]
    assert main(["board", "verify", str(model), "--port", port]) == 0
    out = capsys.readouterr().out
    assert "verified: 2,200 weights of 2 tensors on model, 2 lanes at 12 MHz, bfloat16" in out


def test_a_tensor_that_differs_gives_exit_code_1(model, port, cable, capsys):
    capsys.readouterr()
    begin = cable.device._begin

    def begin_wrongly(*fields):
        begin(*fields)
        cable.device.weights = 1

    cable.device._begin = begin_wrongly
    found = run_json(capsys, "verify", model, "--port", port, code=1)
    assert [tensor["verdict"] for tensor in found["tensors"]] == ["differs", "equal"]
    assert main(["board", "verify", str(model), "--port", port]) == 1
    assert "NOT verified: 1 of 2 tensors are equal" in capsys.readouterr().out


def test_read_writes_the_shape_of_the_tensor(model, port, capsys):
    capsys.readouterr()
    found = run_json(capsys, "read", model, "--tensor", "head", "-o", "head.npy", "--port", port)
    assert (found["weights"], found["differ"], found["lost"]) == (200, 0, 0)
    assert np.load("head.npy").shape == (10, 20)


def test_read_lists_the_tensors_there_are(model, port, capsys):
    assert main(["board", "read", str(model), "--tensor", "tail", "--port", port]) == 2
    assert "there is no tensor 'tail'; it has conv, head" in capsys.readouterr().err


def test_load_and_bench_tell_what_the_board_reports(model, port, capsys):
    capsys.readouterr()
    found = run_json(capsys, "load", model, "--port", port)
    assert [report["weights"] for report in found["reports"]] == [2000, 200]
    found = run_json(capsys, "bench", model, "--port", port)
    assert found["equal"] is True
    for action in ("load", "bench"):
        assert main(["board", action, str(model), "--port", port]) == 0


def test_a_core_that_is_too_small_for_the_file_is_told_before_anything_is_sent(
    tmp_path, port, capsys
):
    wide = tmp_path / "wide.egs"
    wide.write_bytes(egress.encode(np.array([1000, 2], np.int16)))
    assert main(["board", "verify", str(wide), "--port", port]) == 2
    assert "levels of 16 bits, the core on model takes 8" in capsys.readouterr().err


def test_segments_that_are_too_long_for_the_board_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("egress.board.connection.Timing", lambda: QUICK)
    file = tmp_path / "large.egs"
    file.write_bytes(egress.encode(np.zeros(9, np.int8), profile="large"))
    with Cable(tmp_path / "board", Device(hello(buffer=7))) as cable:
        assert main(["board", "load", str(file), "--port", str(cable.path)]) == 2
    assert "compress with --profile small" in capsys.readouterr().err


def test_a_board_without_flash_is_told(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr("egress.board.connection.Timing", lambda: QUICK)
    with Cable(tmp_path / "board", Device(hello(flash=False))) as cable:
        arguments = ["board", "verify", str(model), "--port", str(cable.path), "--flash", "0"]
        assert main(arguments) == 2
    assert "cannot read the board's flash" in capsys.readouterr().err


def test_what_is_for_simulation_is_refused_without(model, capsys):
    assert main(["board", "verify", str(model), "--lanes", "2"]) == 2
    assert "--lanes is for --simulate" in capsys.readouterr().err
    assert main(["board", "verify", str(model), "--faults", "2"]) == 2
    assert "--faults is for --simulate" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["-1", "0x1000000", "abc"])
def test_an_address_is_within_24_bits(address, capsys):
    with pytest.raises(SystemExit):
        main(["board", "verify", "f", f"--flash={address}"])
    assert "is not an address below 0x1000000" in capsys.readouterr().err


def fake_tool(folder: Path, monkeypatch, code: int) -> Path:
    said = folder / "said"
    tool = folder / "openFPGALoader"
    tool.write_text(
        f'#!/bin/sh\necho "$@" > {said}\nfor f; do :; done\ncat "$f" >> {said}\nexit {code}\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return said


def test_a_design_is_given_to_the_tool(tmp_path, monkeypatch):
    said = fake_tool(tmp_path, monkeypatch, 0)
    (tmp_path / "design.bin").write_text("bits")
    program("openFPGALoader -b ulx3s", tmp_path / "design.bin")
    assert said.read_text() == f"-b ulx3s {tmp_path}/design.bin\nbits"


def test_a_stream_is_written_to_its_address(tmp_path, monkeypatch):
    said = fake_tool(tmp_path, monkeypatch, 0)
    program("openFPGALoader -b ulx3s", tmp_path / "model", b"stream", 0x200000)
    arguments, written = said.read_text().split("\n")
    assert arguments.startswith("-b ulx3s -f --file-type raw -o 0x200000 /")
    assert written == "stream"


def test_a_design_goes_to_the_board_that_it_was_made_for(tmp_path, monkeypatch, capsys):
    said = fake_tool(tmp_path, monkeypatch, 0)
    design = tmp_path / "ulx3s-12f-4.bit"
    design.write_text("bits")
    assert main(["board", "program", str(design)]) == 2
    assert "of which board? ulx3s-12f-4.json" in capsys.readouterr().err
    design.with_suffix(".json").write_text('{"board": "ulx3s-12f"}')
    assert main(["board", "program", str(design), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"openFPGALoader -b ulx3s {design}\n"
    assert not said.exists()
    assert main(["board", "program", str(design)]) == 0
    assert said.read_text().endswith("\nbits")


def test_a_model_goes_to_the_flash_as_its_stream(model, monkeypatch):
    said = fake_tool(Path.cwd(), monkeypatch, 0)
    arguments = ["board", "program", str(model), "--board", "icebreaker", "--flash", "0x100000"]
    assert main(arguments) == 0
    assert b"-o 0x100000" in said.read_bytes()
    assert b"\nEGR" in said.read_bytes()


def test_a_board_that_is_not_known_is_told(model, capsys):
    assert main(["board", "program", str(model), "--board", "breadboard"]) == 2
    assert "board must be one of" in capsys.readouterr().err


def test_a_tool_that_fails_is_told(tmp_path, monkeypatch):
    fake_tool(tmp_path, monkeypatch, 3)
    (tmp_path / "design.bin").write_text("bits")
    with pytest.raises(ToolError, match="openFPGALoader failed with code 3: is the board plugged"):
        program("openFPGALoader -b ulx3s", tmp_path / "design.bin")


@pytest.mark.parametrize("tool", ["openFPGALoader", "dfu-util"])
def test_a_tool_that_is_missing_is_told_with_how_to_install_it(tmp_path, monkeypatch, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=f"{tool}, which programs this board, is not installed. De"):
        program(tool, tmp_path / "design.bin")


@pytest.mark.parametrize(
    ("loader", "flags"),
    [
        ("-b ulx3s", ["-f"]),
        ("-b ice40_generic -f", []),
        ("-b tangnano9k", ["-f", "--external-flash"]),
    ],
)
def test_a_flash_beside_the_fpga_is_written(loader, flags):
    parts = command(f"openFPGALoader {loader}", Path("f.raw"), 0x1000)
    expected = ["--file-type", "raw", "-o", "0x1000", "f.raw"]
    assert parts == ["openFPGALoader", *loader.split(), *flags, *expected]


def test_dfu_util_downloads_and_knows_no_addresses():
    assert command("dfu-util -d 1209:5af0", Path("f.dfu")) == [
        *("dfu-util", "-d", "1209:5af0", "-D", "f.dfu")
    ]
    with pytest.raises(ToolError, match="cannot write to an address of its flash"):
        command("dfu-util", Path("f.dfu"), 0)


def test_every_error_of_a_board_ends_the_command_with_code_2(model, monkeypatch, capsys):
    def fails(name):
        raise BoardError("the board is on fire")

    monkeypatch.setattr("egress.board.connection.Connection", fails)
    assert main(["board", "verify", str(model)]) == 2
    assert "egress board: error: the board is on fire" in capsys.readouterr().err
