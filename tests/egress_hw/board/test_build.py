import json
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal

from egress.errors import ToolError
from egress_hw.board import build as building
from egress_hw.board.build import Built, DoesNotFitError, build, deliver, largest
from egress_hw.board.platforms import setup
from egress_hw.board.top import BoardTop

USED = {"luts": 10, "flops": 4, "block_rams": 1, "dsps": 0}


def built(lanes, fmax_mhz, file=Path()):
    return Built(
        board="icebreaker",
        device="up5k",
        lanes=lanes,
        contexts=2,
        buffer_words=128,
        store_bytes=2048,
        clock_mhz=12.0,
        fmax_mhz=fmax_mhz,
        used=USED,
        available=USED,
        file=file,
    )


@pytest.fixture
def tried(monkeypatch):
    """Numbers of lanes that were built; 5 fit, and 4 run at the clock."""
    numbers = []

    def fake(place, lanes, **parameters):
        numbers.append(lanes)
        if lanes > 5:
            raise DoesNotFitError(f"{lanes} do not fit", {})
        return built(lanes, 20.0 if lanes <= 4 else 10.0)

    monkeypatch.setattr(building, "build", fake)
    return numbers


@pytest.mark.parametrize(
    ("start", "numbers"), [(1, [1, 2, 3, 4, 6]), (4, [4, 6]), (8, [8, 6, 4]), (32, None)]
)
def test_the_largest_number_of_lanes_is_found_from_anywhere(tried, start, numbers):
    best, refused = largest(setup("icebreaker"), start=start)
    assert best.lanes == 4
    assert refused[-1] == "6 do not fit"
    assert numbers in (None, tried)


def test_no_more_are_tried_where_that_is_not_wanted(tried):
    best, refused = largest(setup("icebreaker"), start=3, climb=False)
    assert (best.lanes, refused, tried) == (3, [], [3])


def test_a_board_for_which_one_lane_is_too_many_is_refused(monkeypatch):
    def too_large(place, lanes, **parameters):
        raise DoesNotFitError("too large", {})

    monkeypatch.setattr(building, "build", too_large)
    with pytest.raises(DoesNotFitError, match="too large"):
        largest(setup("icebreaker"), start=2)
    monkeypatch.setattr(building, "build", lambda place, lanes, **parameters: built(lanes, 9.5))
    message = "1 lane on iCEBreaker reach 9.5 MHz, and its clock is 12 MHz"
    with pytest.raises(DoesNotFitError, match=message):
        largest(setup("icebreaker"))


def test_a_file_is_delivered_with_what_it_is(tmp_path):
    source = tmp_path / "top.bin"
    source.write_bytes(b"bits")
    paths = deliver(built(2, 20.0, source), tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["icebreaker-2.bin", "icebreaker-2.json"]
    assert paths[0].read_bytes() == b"bits"
    about = json.loads(paths[1].read_text())
    assert (about["file"], about["board"], about["lanes"]) == ("icebreaker-2.bin", "icebreaker", 2)


class Small(BoardTop):
    """In place of the whole design: a counter behind the serial port."""

    def elaborate(self, platform):
        m = Module()
        if self.place.clock_hz != self.place.oscillator_hz:
            self._pll(m, platform)
        serial = platform.request("egress_serial" if self.place.serial else "uart")
        count = Signal(8)
        m.d.sync += count.eq(count + serial.rx.i)
        m.d.comb += serial.tx.o.eq(count[-1])
        return m


@pytest.mark.parametrize("name", ["icebreaker", "ulx3s-12f", "tang-nano-9k", "crosslink-nx-evn"])
def test_the_tools_of_each_family_make_a_file_without_an_environment(name, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "BoardTop", Small)
    for variable in ("YOSYS", "NEXTPNR_ICE40", "NEXTPNR_ECP5", "NEXTPNR_GOWIN", "NEXTPNR_NEXUS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "")
    told = []
    place = setup(name)
    found = build(place, 1, cache=tmp_path, progress=told.append)
    assert found.meets_clock
    assert found.used["flops"] >= 8
    assert found.file.stat().st_size > 10_000
    assert [line.split(" ")[0] for line in told if "compiling" not in line] == [
        "synthesizing", "placing", "making",
    ]  # fmt: skip
    told.clear()
    assert build(place, 1, cache=tmp_path, progress=told.append) == found
    assert told == []


def test_a_design_that_is_too_large_says_what_it_needs(tmp_path, monkeypatch):
    class Large(Small):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            bits = Signal(1500)
            m.d.sync += bits.eq(Cat(~bits[-1], bits))
            m.d.comb += platform.request("led", 1).o.eq(bits[-1])
            return m

    monkeypatch.setattr(building, "BoardTop", Large)
    for _ in range(2):  # from the cache as well
        with pytest.raises(DoesNotFitError, match=r"1 lane does not fit iCEstick \(hx1k\): needs"):
            build(setup("icestick"), 1, cache=tmp_path)
    assert issubclass(DoesNotFitError, ToolError)


@pytest.mark.synth
@pytest.mark.timeout(3600)
def test_the_design_fits_an_icebreaker(tmp_path):
    found = build(setup("icebreaker"), 1, cache=tmp_path)
    assert found.meets_clock
    assert found.file.stat().st_size == 104_090
