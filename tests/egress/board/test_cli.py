import json
from dataclasses import replace

import numpy as np
import pytest

import egress
from egress.board.errors import BoardError
from egress.cli import main, parser

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
def port(cable, monkeypatch) -> str:
    monkeypatch.setattr("egress.board.port.Timing", lambda: QUICK)
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


def test_the_rate_of_the_line_may_be_another_one(model, cable, monkeypatch, capsys):
    monkeypatch.setattr("egress.board.port.Timing", lambda baud: replace(QUICK, baud=baud))
    capsys.readouterr()
    found = run_json(capsys, "load", model, "--port", cable.path, "--baud", "9600")
    assert found["complete"] is True


def test_a_core_that_is_too_small_for_the_file_is_told_before_anything_is_sent(
    tmp_path, port, capsys
):
    wide = tmp_path / "wide.egs"
    wide.write_bytes(egress.encode(np.array([1000, 2], np.int16)))
    assert main(["board", "verify", str(wide), "--port", port]) == 2
    assert "levels of 16 bits, the core on model takes 8" in capsys.readouterr().err


def test_segments_that_are_too_long_for_the_board_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("egress.board.port.Timing", lambda: QUICK)
    file = tmp_path / "large.egs"
    file.write_bytes(egress.encode(np.zeros(9, np.int8), profile="large"))
    with Cable(tmp_path / "board", Device(hello(buffer=7))) as cable:
        assert main(["board", "load", str(file), "--port", str(cable.path)]) == 2
    assert "compress with --profile small" in capsys.readouterr().err


def test_a_board_without_flash_is_told(tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr("egress.board.port.Timing", lambda: QUICK)
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


def test_every_error_of_a_board_ends_the_command_with_code_2(model, monkeypatch, capsys):
    def fails(*arguments):
        raise BoardError("the board is on fire")

    monkeypatch.setattr("egress.board.connection.Connection", fails)
    assert main(["board", "verify", str(model)]) == 2
    assert "egress board: error: the board is on fire" in capsys.readouterr().err
