import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import egress
import egress.kernels
import egress.peers
from egress.bench.codec import COPY, CodecPlan, CodecRow, Speed, bench_codec
from egress.bench.data import RATES, eg0_bits, generalized_gaussian
from egress.bench.modes import record_in
from egress.cli import main
from egress.errors import ToolError
from egress.measure import measure
from egress.peers import Peers

SMALL = CodecPlan(rates=(2.64,), weights=4000, slow_weights=1000, rounds=2)


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(egress.peers, "find_interpreters", lambda named: [])
    monkeypatch.setattr(egress.kernels, "available", lambda: ("numpy",))


@pytest.mark.parametrize("rate", RATES)
def test_data_sets_cost_in_exp_golomb_of_order_0_what_they_say(rate):
    levels = generalized_gaussian(rate, 200_000)
    assert levels.dtype == np.int8
    assert measure(levels).eg[0] / levels.size == pytest.approx(rate, rel=0.01)
    assert eg0_bits(levels.astype(np.float64)) == measure(levels).eg[0] / levels.size
    assert np.array_equal(levels, generalized_gaussian(rate, 200_000))


def test_a_rate_that_no_data_have_is_refused():
    with pytest.raises(ValueError, match=r"^rate must be within 1\.01\.\.9 bits, not 1$"):
        generalized_gaussian(1, 10)


def test_speed_is_the_median_with_quartiles_of_weights_over_seconds():
    assert Speed.of(2_000_000, [4.0, 1.0, 2.0]) == Speed(1.0, 0.75, 1.5)
    assert Speed.of(1_000_000, [0.5]) == Speed(2.0, 2.0, 2.0)


def test_every_row_states_bits_and_both_speeds_and_copying_is_the_measure_of_decoding():
    with Peers() as peers:
        result = bench_codec(SMALL, peers)
    assert not result.failed
    levels = generalized_gaussian(2.64, 4000)
    names = {row.codec: row for row in result.rows}
    assert len(names) == len(result.rows)
    assert names[COPY].copy_share == 1
    few = 8 * len(egress.encode(levels[:1000])) / 1000
    assert names["egress numpy, auto"].bits_per_weight == few
    for code in ("auto", "eg"):
        # Numpy is given as few as slow peers are.
        bits = {8 * len(egress.encode(levels[:n], code=code)) / n for n in (1000, 4000)}
        ours = [row for row in result.rows if f", {code}" in row.codec]
        assert {row.bits_per_weight for row in ours} <= bits
    assert names["zlib -6"].weights == 1000
    for row in result.rows:
        assert row.decode.low <= row.decode.median <= row.decode.high
        assert (row.encode is None) == (row.codec == COPY)
        share = row.decode.median / names[COPY].decode.median
        assert row.copy_share == pytest.approx(share)


@pytest.mark.parametrize("mode", egress.Mode)
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_a_record_can_be_had_in_any_mode(mode, dtype):
    levels = generalized_gaussian(3.6, 30_000).astype(dtype)
    levels[::1000] *= 100 if dtype == np.int16 else 1
    levels[:2] = 127, -127
    decoded = egress.decode(record_in(levels, mode))
    assert np.array_equal(decoded.levels, levels)
    assert {setting.mode for setting in decoded.header.settings} == {mode}


def test_modes_are_decoded_by_themselves_on_request(no_peers):
    with Peers() as peers:
        result = bench_codec(replace(SMALL, modes=True), peers)
    assert not result.failed
    names = [row.codec for row in result.rows if row.encode is None]
    modes = ["plain", "zero-run", "joint", "raw"]
    assert names == [COPY] + [f"egress numpy, {mode}" for mode in modes]


def test_a_codec_that_fails_is_left_out_and_said(no_peers):
    class Broken(Peers):
        def code(self, codec, levels):
            raise ToolError(f"{codec}: no")

    with Broken() as peers:
        peers.versions["mlw_codec"] = "fake 1"
        result = bench_codec(SMALL, peers)
    assert result.failed == {"2.64 b, mlw_codec": "mlw_codec: no"}
    assert "mlw_codec" not in {row.codec for row in result.rows}


def test_the_command_writes_a_table_json_and_a_picture(capsys, tmp_path, monkeypatch, no_peers):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("egress.bench.codec.QUICK", SMALL)
    np.savez("real.npz", small=np.ones((2, 2), np.int8), large=np.ones((30, 40), np.int16))
    options = ["--levels", "real.npz", "--json", "out.json", "--plot", "out.svg"]
    assert main(["bench", "codec", "--quick", *options]) == 0
    out = capsys.readouterr().out
    assert "not installed: zlib -6, zstd -1, zstd -3" in out
    result = json.loads(Path("out.json").read_text())
    assert set(result) == {"rows", "machine", "missing", "failed"}
    assert {row["data"] for row in result["rows"]} == {"2.64 b", "real: large"}
    assert {row["weights"] for row in result["rows"]} == {1000, 4000, 1200}
    for row in result["rows"]:
        assert set(row) == set(CodecRow.__dataclass_fields__)
        assert set(row["decode"]) == {"median", "low", "high"}
        assert not math.isnan(row["copy_share"])
    root = ElementTree.parse("out.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ">egress numpy<" in Path("out.svg").read_text()


def test_a_file_without_levels_is_refused(capsys, tmp_path):
    np.savez(tmp_path / "floats.npz", w=np.ones((2, 2)))
    assert main(["bench", "codec", "--levels", str(tmp_path / "floats.npz")]) == 2
    assert "floats.npz: no matrix of integers is in this file" in capsys.readouterr().err
