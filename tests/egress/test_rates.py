import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import egress
import egress.peers
from egress.checkpoint import ContainerError
from egress.cli import main
from egress.rates import (
    BEGIN,
    COLUMNS,
    END,
    FileRates,
    Row,
    from_json,
    markdown,
    replace_table,
    to_json,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def levels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {
        "a": np.rint(rng.laplace(0, 1, (300, 256))).astype(np.int8),
        "b": np.rint(rng.laplace(0, 90, (40, 50))).astype(np.int16),
    }
    np.savez("levels.npz", **arrays)
    return arrays


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(egress.peers, "find_interpreters", lambda named: [])


def rates(capsys, *arguments):
    assert main(["rates", *arguments]) == 0
    return capsys.readouterr().out


def test_the_json_has_a_row_for_each_tensor_in_every_column(capsys, levels):
    result = json.loads(rates(capsys, "levels.npz", "--json"))
    assert set(result) == {"peers", "large", "files"}
    (file,) = result["files"]
    assert set(file) == {"file", "large_tensors", "large_below_mlw", "total", "tensors"}
    assert file["file"] == "levels.npz"
    assert file["large_tensors"] == 1
    assert [row["tensor"] for row in file["tensors"]] == ["a", "b"]
    for row in (*file["tensors"], file["total"]):
        assert set(row) == {"tensor", "weights", "zeros", "bits", "clipped", "below_mlw"}
        assert list(row["bits"]) == list(COLUMNS)


def test_the_stream_is_the_records_with_all_their_overhead(capsys, levels):
    (file,) = json.loads(rates(capsys, "levels.npz", "--json"))["files"]
    for row in file["tensors"]:
        assert row["bits"]["stream"] == 8 * len(egress.encode(levels[row["tensor"]]))


def test_the_total_is_the_sum_of_the_tensors(capsys, levels):
    (file,) = json.loads(rates(capsys, "levels.npz", "--json"))["files"]
    total, rows = file["total"], file["tensors"]
    for key in ("weights", "zeros", "clipped"):
        assert total[key] == sum(row[key] for row in rows)
    for column, bits in total["bits"].items():
        parts = [row["bits"][column] for row in rows]
        assert bits is None if None in parts else bits == pytest.approx(sum(parts), abs=0.01)


def test_missing_peers_show_a_dash_and_how_to_get_them(capsys, levels, no_peers):
    out = rates(capsys, "levels.npz", "--json", "out.json")
    (file,) = json.loads(Path("out.json").read_text())["files"]
    assert file["large_below_mlw"] is None
    assert out.splitlines()[1].split()[-3:] == ["-", "-", "-"]
    assert "not installed: mlw_codec, zstd -19, DeepCABAC; `make peers` installs" in out
    assert "below mlw_codec in" not in out


def test_peers_fill_their_columns_and_large_tensors_are_compared(capsys, levels, monkeypatch):
    class Fake:
        def __init__(self, named):
            self.versions = {"mlw_codec": "fake 1"}

        def __enter__(self):
            return self

        def __exit__(self, *caught):
            pass

        def shared(self, array):
            return nullcontext(array)

        def code(self, codec, array):
            return egress.peers.Timing(9 * array.size, int((abs(array) > 255).sum()), 1.0, 1.0)

    monkeypatch.setattr("egress.cli.rates.Peers", Fake)
    out = rates(capsys, "levels.npz", "--json", "out.json")
    assert "stream below mlw_codec in 1 of 1 tensors of 65,536 weights or more" in out
    clipped = int((abs(levels["b"]) > 255).sum())
    assert f"{clipped:,} levels beyond +-255 were clipped for mlw_codec" in out
    assert "mlw_codec: fake 1\nnot installed: zstd -19, DeepCABAC;" in out
    (file,) = json.loads(Path("out.json").read_text())["files"]
    assert file["large_below_mlw"] == 1
    assert [row["below_mlw"] for row in file["tensors"]] == [True, False]


def test_floats_are_quantized_or_left_out(capsys, tmp_path, monkeypatch, no_peers):
    monkeypatch.chdir(tmp_path)
    np.savez("mixed.npz", w=np.full((2, 2), 0.5), l=np.ones((3, 2), np.int8))
    (file,) = json.loads(rates(capsys, "mixed.npz", "--step", "2^-1", "--json"))["files"]
    assert [(row["tensor"], row["weights"]) for row in file["tensors"]] == [("w", 4), ("l", 6)]
    (file,) = json.loads(rates(capsys, "mixed.npz", "--integers", "--json"))["files"]
    assert [row["tensor"] for row in file["tensors"]] == ["l"]


def test_a_level_of_minus_128_is_coded_with_16_bits(capsys, tmp_path, monkeypatch, no_peers):
    monkeypatch.chdir(tmp_path)
    np.savez("full.npz", l=np.full((4, 4), -128, np.int8))
    assert json.loads(rates(capsys, "full.npz", "--json"))["files"][0]["total"]["weights"] == 16


def test_a_level_beyond_16_bits_is_told_with_its_tensor(capsys, tmp_path, monkeypatch, no_peers):
    monkeypatch.chdir(tmp_path)
    np.savez("far.npz", l=np.full((2, 2), 40000))
    assert main(["rates", "far.npz"]) == 2
    assert "far.npz: tensor 'l': levels of 16 bits must be within" in capsys.readouterr().err


def test_a_result_is_shown_again_as_it_was(capsys, levels, no_peers):
    first = rates(capsys, "levels.npz", "--json")
    Path("result.json").write_text(first)
    assert rates(capsys, "result.json", "--json") == first
    Path("other.json").write_text('{"files": 3}')
    assert main(["rates", "other.json"]) == 2
    assert "other.json: not a result of `egress rates --json`" in capsys.readouterr().err


def test_several_files_have_a_row_each_and_a_total(capsys, levels, no_peers):
    np.savez("more.npz", c=np.ones((2, 3), np.int8))
    lines = rates(capsys, "levels.npz", "more.npz").splitlines()
    last = [line.split()[:2] for line in lines if line.startswith(("levels", "more", "total"))][-3:]
    assert last == [["levels.npz", "78,800"], ["more.npz", "6"], ["total", "78,806"]]


def test_a_document_gets_the_table_between_its_marks(capsys, levels, no_peers):
    Path("doc.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    rates(capsys, "levels.npz", "--docs", "doc.md")
    lines = Path("doc.md").read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[2].startswith("| model | weights | zeros | fixed length |")
    assert lines[4].startswith("| levels | 78,800 |")
    with pytest.raises(ContainerError, match=r"doc\.md: has no line '<!-- egress rates: begin"):
        replace_table("nothing", "table", Path("doc.md"))


def test_what_is_written_is_read_back():
    row = Row("t", 4, 1, {"stream": 80, "mlw_codec": None}, 2)
    files = [FileRates("f.npz", (row,))]
    versions = {"mlw_codec": None}
    assert from_json(to_json(files, versions), Path("x")) == (files, versions)


def test_the_table_in_the_documents_is_the_committed_result():
    result = ROOT / "docs" / "results" / "rates.json"
    files, versions = from_json(result.read_text(), result)
    assert all(versions.values())
    document = (ROOT / "docs" / "codes.md").read_text()
    assert f"{BEGIN}\n{markdown(files)}\n{END}" in document
