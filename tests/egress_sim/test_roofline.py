import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from egress.cli import main
from egress_sim import roofline


@pytest.mark.parametrize(
    "source", [*roofline.drawn(1, 50_000)], ids=lambda source: str(source.weights)
)
def test_drawn_levels_take_the_bits_that_are_asked_for(source):
    bits = 8 * len(source.records(1)[0]) / source.weights
    assert min(abs(bits / wanted - 1) for wanted in roofline.RATES) < 0.06


def test_drawn_streams_fill_whole_rounds_and_two_at_least():
    a_round = int(8 * 4 * roofline.FILLED_BITS["small"] / 6)
    [short], [long] = roofline.drawn(8, 10, [6.0]), roofline.drawn(8, 7 * a_round // 8, [6.0])
    assert (short.weights, long.weights) == (2 * a_round, 7 * a_round)


def test_files_of_levels_are_read_and_clipped_to_8_bits(tmp_path):
    np.savez(tmp_path / "model.npz", a=np.full((3, 5), 128, np.int16), note=np.int64(7))
    source = roofline.read(tmp_path / "model.npz")
    assert (source.name, source.weights) == ("model", 15)
    assert [tensor.max() for tensor in source.tensors] == [127]


def test_file_without_levels_is_refused(tmp_path, capsys):
    np.savez(tmp_path / "floats.npz", a=np.ones((3, 5), np.float32))
    assert main(["bench", "roofline", "--files", str(tmp_path / "floats.npz")]) == 2
    said = capsys.readouterr().err
    assert "floats.npz: holds no matrix of levels; give whole numbers or a compressed file" in said


def test_tensors_need_what_the_lanes_or_the_bus_take_for_each():
    tensors = np.zeros(800, np.int8), np.zeros(400, np.int8)
    source = roofline.Source(name="two", tensors=tensors)
    records = [bytes(100), bytes(800)]
    # Of 8 lanes the first takes 100 cycles, of which the bus needs 25; the second 200, of the bus.
    assert source.cycles(records, 8, 32) == 100 + 200
    assert source.cycles(records, 8, 32, 400, 900) == 50 + 50
    assert source.cycles(records, 8, 32, 900, 1100) == 100


def point(data: str, lanes: int, bits: float, bus: int, cycles: int = 0) -> roofline.Point:
    numbers: dict[str, Any] = {field.name: 0 for field in fields(roofline.Point)}
    told = {"data": data, "lanes": lanes, "bits_per_weight": bits, "bus": bus, "cycles": cycles}
    return roofline.Point(**(numbers | told))


def test_new_points_take_the_place_of_those_of_the_same_levels_lanes_and_bus():
    known = [point("drawn", lanes, bits, 32) for lanes in (1, 64) for bits in (1.2, 2.6)]
    known += [point("model", 8, 1.0, bus) for bus in (32, 128)]
    # Of another code, so of other bits a weight.
    new = [point("model", 8, 1.1, 32, 7), *(point("drawn", 1, bits, 32, 7) for bits in (1.3, 2.5))]
    assert roofline.merge(new, known) == [*new[1:], *known[2:4], known[5], new[0]]


def test_file_of_something_else_is_not_written_over(tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text('{"rows": []}')
    assert main(["bench", "roofline", "--quick", "--json", str(other)]) == 2
    assert "other.json: holds no points of this benchmark" in capsys.readouterr().err
    assert other.read_text() == '{"rows": []}'


@pytest.mark.cocotb
def test_command_measures_cores_on_drawn_levels_and_on_files(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    levels = np.rint(draw.laplace(0, 1, (2, 200, 300))).astype(np.int8)
    np.savez(tmp_path / "model.npz", a=levels[0], b=levels[1])
    docs, results = tmp_path / "page.md", tmp_path / "roofline.json"
    docs.write_text(f"before\n{roofline.BEGIN}\n{roofline.END}\nafter\n")
    files, buses = ["--files", str(tmp_path / "model.npz")], ["--bus", "32", "64"]
    outputs = ["--json", str(results), "--docs", str(docs)]
    assert main(["bench", "roofline", "--quick", "--lanes", "1", *buses, *files, *outputs]) == 0
    points = json.loads(results.read_text())["points"]
    assert [point["data"] for point in points] == 8 * ["drawn"] + 2 * ["model"]
    assert [point["bus"] for point in points] == 5 * [32, 64]
    for point in points:
        assert 0.8 < point["share"] <= point["tensors_share"] + 1e-9 <= 1 + 1e-9
        assert point["tensors_share"] < point["steady_share"] + 0.01 < 1.02
        assert point["tensors"] > 1 or point["tensors_share"] == pytest.approx(point["share"])
        beats = point["cycles"] - point["latency_cycles"]
        lost = point["between"] + point["input"] + point["decoding"]
        assert point["weights"] == beats - lost
    text = docs.read_text()
    assert text.count("| model (2 tensors) |") == 2
    assert text.startswith("before")
    assert text.endswith("after\n")
