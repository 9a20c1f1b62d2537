import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from egress.cli import main, parser
from tests.egress.test_code import PAPER_TABLE_2

COMMANDS = """
    bench demo train compress decompress inspect verify rates codewords simulate faults synth
    verilog board
"""


@pytest.fixture
def checkpoint(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    save_file(
        {
            "a": rng.laplace(0, 0.02, (60, 50)).astype(np.float32),
            "b": rng.laplace(0, 0.1, (30, 20)).astype(np.float32),
            "bias": np.ones(3, np.float32),
        },
        "in.safetensors",
    )
    return Path("in.safetensors")


def run_json(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS.split())
def test_every_command_has_help_with_an_example(capsys, command):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"egress {command}" in text.split("examples:")[1]


def test_the_examples_of_every_command_parse(capsys):
    for command in COMMANDS.split():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        for line in capsys.readouterr().out.split("examples:")[1].strip().splitlines():
            parser().parse_args(line.split()[1:])


def test_codewords_prints_table_2_of_the_paper(capsys):
    table = run_json(capsys, "codewords")
    assert table == {f"k={order}": text.split() for order, text in PAPER_TABLE_2.items()}
    assert main(["codewords"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[10].split() == ["9"] + [PAPER_TABLE_2[order].split()[9] for order in range(6)]


def test_compress_verify_inspect_rates_and_decompress_agree(capsys, checkpoint):
    packed = "out.egress.safetensors"
    report = run_json(capsys, "compress", str(checkpoint), "-o", packed)
    assert report["weights"] == 3600
    against = ["verify", packed, "--against", str(checkpoint), "--reference"]
    assert run_json(capsys, *against) == {"weights": 3600, "mismatches": []}
    seen = run_json(capsys, "inspect", packed)
    assert seen["unchanged"] == ["bias"]
    assert seen["bits_per_weight"] == report["bits_per_weight"]
    (rates,) = run_json(capsys, "rates", packed, "--paper")["files"]
    assert rates["total"]["bits"]["stream"] / 3600 == report["bits_per_weight"]
    (again,) = run_json(capsys, "rates", str(checkpoint), "--paper")["files"]
    assert rates["tensors"] == again["tensors"]
    assert run_json(capsys, "decompress", packed, "-o", "plain.safetensors")["tensors"] == 2
    difference = load_file("plain.safetensors")["a"] - load_file("in.safetensors")["a"]
    assert np.abs(difference).max() <= 2**-9


@pytest.mark.parametrize("command", ["compress", "verify", "inspect", "rates", "decompress"])
def test_tables_are_printed_for_people_too(capsys, checkpoint, command):
    assert main(["compress", str(checkpoint), "-o", "out"]) == 0
    capsys.readouterr()
    file = str(checkpoint) if command == "compress" else "out"
    output = ["-o", "other"] if command.endswith("compress") else []
    assert main([command, file, *output]) == 0
    assert re.search(r"3,600", capsys.readouterr().out)


def test_verify_tells_a_mismatch_by_its_exit_code(capsys, checkpoint):
    assert main(["compress", str(checkpoint), "-o", "out"]) == 0
    other = load_file(checkpoint)
    other["a"] = other["a"].copy()
    other["a"][1, 3] += 1
    other["bias"] = other["bias"] * 2
    save_file(other, "other")
    capsys.readouterr()
    assert main(["verify", "out", "--against", "other"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a: 1 of 3,000 levels differ from the original's, the first at 53: ")
    assert lines[1] == "bias: stored unchanged, but differs from the original"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("compress absent -o out", "compress: error: absent: there is no such file"),
        ("compress in.safetensors -o in.safetensors", "the output must not be the input"),
        ("compress in.safetensors -o no/out", "the folder no does not exist"),
        ("compress in.safetensors -o .", ". is a folder, not a file to write"),
        ("compress in.safetensors -o out --sqnr 0", "--sqnr must be within 0..120 dB, not 0.0"),
        ("compress in.safetensors -o out --interleave 999", "--interleave must be at most 256"),
        ("inspect in.safetensors", "a plain safetensors file, not a compressed one"),
        ("verify absent", "absent: there is no such file"),
        ("codewords --orders 16", "order must be within 0..15, not 16"),
        ("simulate absent", "absent: there is no such file"),
        ("synth --board nonesuch", "nonesuch"),
    ],
)
def test_bad_input_is_told_in_a_line_and_exit_code_2(capsys, checkpoint, arguments, message):
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert sorted(path.name for path in Path().iterdir()) == ["in.safetensors"]


def test_a_step_that_is_none_is_refused_with_what_to_write(capsys, checkpoint):
    with pytest.raises(SystemExit) as caught:
        main(["compress", "in.safetensors", "-o", "out", "--step", "2^x"])
    assert caught.value.code == 2
    assert "'2^x' is not a step: write 2^-8 or a positive number" in capsys.readouterr().err
