"""The commands that need torch, a simulator or yosys, run for real."""

import json
import re
from pathlib import Path

import pytest

from egress.cli import main

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"


def run_json(capsys, *arguments):
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_train_writes_a_checkpoint_whose_compressed_form_classifies_as_well(capsys, tmp_path):
    code, result = run_json(
        capsys, "train", "--steps", "300", "-o", str(tmp_path / "digits.safetensors"),
        "--compressed", str(tmp_path / "digits.egress.safetensors"),
    )  # fmt: skip
    assert code == 0
    assert result["test_accuracy"] > 0.85
    assert abs(result["test_accuracy_decoded"] - result["test_accuracy"]) < 0.03
    assert result["bits_per_weight"] < 2.5
    assert main(["verify", str(tmp_path / "digits.egress.safetensors"), "--against",
                 str(tmp_path / "digits.safetensors")]) == 0  # fmt: skip


@pytest.mark.cocotb
def test_simulate_compares_every_weight_of_a_bare_stream(capsys):
    stream = str(BITSTREAMS / "golden/model.egs")
    options = ("--level-bits", "16", "--buffer", "large")
    code, result = run_json(capsys, "simulate", stream, *options)
    assert code == 0
    assert result["compared"] == result["weights"] == 19911
    assert result["mismatches"] == 0
    # The tensors have one to three segments each: a context of the four or more is without one.
    assert result["share"] > 0.6


@pytest.mark.cocotb
def test_simulate_tells_a_stream_that_the_core_refuses(capsys):
    stream = str(BITSTREAMS / "hostile/segment_bit.egs")
    code, result = run_json(capsys, "simulate", stream, "--level-bits", "16", "--buffer", "large")
    assert code == 2
    assert (result["error"], result["error_segment"]) == ("bad segment CRC", 2)
    assert result["flagged"] == 100
    assert result["mismatches"] == 0


def test_verilog_is_one_file_with_axi_stream_ports(capsys, tmp_path):
    assert main(["verilog", "--lanes", "2", "-o", str(tmp_path / "core.v")]) == 0
    text = (tmp_path / "core.v").read_text()
    assert re.search(r"^module egress_core\b", text, re.MULTILINE)
    for port in ("s_axis_tdata", "m_axis_tkeep", "m_axis_tuser", "error_segment"):
        assert port in text


@pytest.mark.cocotb
def test_the_quick_demo_saves_bits_at_equal_accuracy_and_every_weight_is_right(capsys, tmp_path):
    code, result = run_json(capsys, "demo", "--quick", "-o", str(tmp_path))
    assert code == 0
    plain, backslash = result["models"]
    assert backslash["bits_per_weight"] < plain["bits_per_weight"] / 3
    assert backslash["accuracy"]["quantized test"] > plain["accuracy"]["quantized test"] - 0.02
    for simulation in result["simulations"]:
        assert simulation["compared"] == simulation["weights"] == 115_968
        assert simulation["mismatches"] == 0
        assert simulation["stalls"]["decoding"] < 0.02 * simulation["cycles"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "demo.egress.safetensors",
        "plain.egress.safetensors",
        "demo.json",
        "report.html",
    }
    assert main(["verify", str(tmp_path / "demo.egress.safetensors"), "--reference"]) == 0
