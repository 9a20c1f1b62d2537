import json
from pathlib import Path

import pytest

from egress.bench import boards
from egress.cli import main
from egress_hw.board import build as building
from egress_hw.board import search
from egress_hw.board.built import Built, DoesNotFitError

HAS = {"luts": 100, "flops": 100, "block_rams": 10, "dsps": 2}


def built(place, lanes, file, fmax_mhz=60.0):
    return Built(
        board=place.name,
        device="some",
        lanes=lanes,
        contexts=2,
        buffer_words=128,
        store_bytes=2048,
        clock_mhz=place.clock_hz / 1e6,
        fmax_mhz=fmax_mhz,
        used={"luts": 50, "flops": 30, "block_rams": 5, "dsps": 1},
        available=HAS,
        file=file,
    )


@pytest.fixture
def fits(monkeypatch, tmp_path):
    """Boards on which three lanes fit; parameters of each build are kept."""
    file = tmp_path / "top.bit"
    file.write_bytes(b"bits")
    asked = []

    def fake(place, lanes, *, progress=None, **parameters):
        asked.append((place.name, lanes, parameters))
        if lanes > 3:
            raise DoesNotFitError(f"{lanes} lanes do not fit {place.title}: needs all", {})
        return built(place, lanes, file)

    for module in (building, search):
        monkeypatch.setattr(module, "build", fake)
    return asked


def test_the_file_of_a_board_is_written_with_the_lanes_that_fit(fits, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--buffer", "small", "--baud", "115200"]
    assert main(["synth", "--board", "ulx3s_25f", "-o", str(out), *options]) == 0
    assert (out / "ulx3s-25f-3.bit").read_bytes() == b"bits"
    printed = capsys.readouterr()
    assert f"wrote {out / 'ulx3s-25f-3.bit'}" in printed.out
    assert "ulx3s-25f" in printed.out
    assert "4 lanes do not fit ULX3S 25F: needs all" in printed.err
    assert {(given["buffer"], given["baud"]) for _, _, given in fits} == {("small", 115_200)}


def test_lanes_that_are_asked_for_and_do_not_fit_are_refused(fits, tmp_path, capsys):
    arguments = ["synth", "--board", "ulx3s-25f", "-o", str(tmp_path), "--lanes"]
    assert main([*arguments, "4"]) == 2
    assert "4 lanes do not fit ULX3S 25F: needs all" in capsys.readouterr().err
    assert main([*arguments, "2", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["board"], found["lanes"]) == ("ulx3s-25f", 2)
    assert [Path(path).name for path in found["files"]] == ["ulx3s-25f-2.bit", "ulx3s-25f-2.json"]


def test_a_clock_that_is_missed_is_told(monkeypatch, tmp_path, capsys):
    slow = lambda place, lanes, **parameters: built(place, lanes, Path(), 40.0)  # noqa: E731
    monkeypatch.setattr(building, "build", slow)
    arguments = ["synth", "--board", "ulx3s-25f", "-o", str(tmp_path), "--lanes", "2"]
    assert main(arguments) == 2
    message = "2 lanes on ULX3S 25F reach 40.0 MHz, and its clock is 50 MHz; try fewer --lanes"
    assert message in capsys.readouterr().err


def test_what_has_to_be_done_on_the_board_is_told(fits, tmp_path, capsys):
    assert main(["synth", "--board", "upduino", "-o", str(tmp_path), "--lanes", "1"]) == 0
    told = capsys.readouterr().err
    assert "UPduino v3: close the solder jumper OSC" in told
    assert "a USB-serial adapter of 3.3 V: its TX to 38, its RX to 28, and ground" in told


def test_a_board_with_other_tools_is_given_verilog(tmp_path, capsys):
    assert main(["synth", "--board", "arty_a7", "-o", str(tmp_path), "--lanes", "1"]) == 0
    text = (tmp_path / "arty_a7-1.v").read_text()
    assert "module egress_board (\n  clk,\n  rst,\n  rx,\n  tx," in text
    assert (
        "arty_a7 is built with Vivado, which is not among the open tools" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x"], "-o needs --board"),
        (["--board", "nonsense", "-o", "x"], "or a module of amaranth-boards, not 'nonsense'"),
    ],
)
def test_what_cannot_be_built_is_refused(arguments, message, capsys):
    assert main(["synth", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_table_of_boards_keeps_what_is_not_measured_again(fits, tmp_path, capsys):
    document, data = tmp_path / "boards.md", tmp_path / "boards.json"
    document.write_text(f"before\n{boards.BEGIN}\nold\n{boards.END}\nafter\n")
    arguments = ["bench", "boards", "--json", str(data), "--docs", str(document), "--board"]
    assert main([*arguments, "icebreaker"]) == 0
    assert main([*arguments, "ulx3s-25f", "hx8k"]) == 0
    rows = json.loads(data.read_text())["rows"]
    assert [row["board"] for row in rows] == ["icebreaker", "hx8k-evn", "ulx3s-25f"]
    assert [row["lanes"] for row in rows] == [1, 1, 3]
    assert rows[2]["weights_per_second"] == 3 * 50e6
    assert rows[2]["bytes_per_second"] == 3 * 50e6 * 2.6 / 8
    text = document.read_text()
    assert "| ULX3S 25F | some | 3 | 50 (50%) | 5 (50%) | 60.0 | 50 | 150 | 48.8 |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_rate_is_no_more_than_the_bus_gives(tmp_path):
    from egress_hw.board.platforms import setup

    row = boards.row_of(built(setup("ulx3s-85f"), 16, Path()))
    assert row["weights_per_second"] == 32 / 2.6 * 50e6
