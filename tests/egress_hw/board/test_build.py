import json

import pytest
from amaranth.hdl import Cat, Module, Signal

from egress.errors import ToolError
from egress_hw.board import build as building
from egress_hw.board.build import build
from egress_hw.board.built import Built, DoesNotFitError, deliver
from egress_hw.board.platforms import setup
from egress_hw.board.top import BoardTop


def test_a_file_is_delivered_with_what_it_is(tmp_path):
    source = tmp_path / "top.bin"
    source.write_bytes(b"bits")
    counts = {"luts": 10, "flops": 4, "block_rams": 1, "dsps": 0}
    built = Built(
        board="icebreaker",
        device="up5k",
        lanes=2,
        contexts=2,
        buffer_words=128,
        store_bytes=2048,
        clock_mhz=12.0,
        fmax_mhz=20.0,
        used=counts,
        available=counts,
        file=source,
    )
    paths = deliver(built, tmp_path / "new" / "folder")
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


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_design_fits_an_icebreaker(tmp_path):
    found = build(setup("icebreaker"), 1, cache=tmp_path)
    assert found.meets_clock
    assert found.file.stat().st_size == 104_090
