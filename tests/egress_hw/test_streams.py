import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .streams import run_streams


class Stage(wiring.Component):
    """A register stage; ``flaw`` breaks one rule of streams."""

    i: stream.Interface
    o: stream.Interface
    busy: Signal

    def __init__(self, flaw: str = ""):
        self._flaw = flaw
        layout = data.StructLayout({"value": 8, "odd": 1})
        super().__init__(
            {"i": In(stream.Signature(8)), "o": Out(stream.Signature(layout)), "busy": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += self.i.ready.eq(free)
        m.d.comb += self.busy.eq(self.o.valid)
        with m.If(free):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.value.eq(self.i.payload)
            m.d.sync += self.o.payload.odd.eq(self.i.payload[0])
        if self._flaw == "valid falls":
            with m.Elif(self.o.payload.value == 5):
                m.d.sync += self.o.valid.eq(0)
        if self._flaw == "payload changes":
            with m.Elif(self.o.payload.value == 5):
                m.d.sync += self.o.payload.odd.eq(0)
        if self._flaw == "looks at rubbish":
            with m.If(~self.i.valid & self.i.payload[7]):
                m.d.sync += self.o.valid.eq(1)
        if self._flaw == "waits for ready":
            m.d.comb += self.i.ready.eq(self.o.ready)
            m.d.sync += self.o.valid.eq(self.i.valid & self.o.ready)
        return m


VALUES = [5, 6, 7, 200]


def run(flaw="", count=4, **options):
    return run_streams(Stage(flaw), {"i": VALUES}, {"o": count}, deadline=60, **options)


@pytest.mark.parametrize("gaps", [(), (2, 0, 1), {"i": (1,)}])
@pytest.mark.parametrize("stalls", [(), (3, 0), {"o": (1,)}])
def test_beats_arrive_in_order_under_gaps_and_stalls(gaps, stalls):
    result = run(gaps=gaps, stalls=stalls)
    assert [beat.value for beat in result.beats["o"]] == VALUES
    assert [beat.odd for beat in result.beats["o"]] == [1, 0, 1, 0]


def test_cycles_and_watched_signals_are_reported():
    result = run(watch=["busy"])
    assert result.cycles == {"i": [0, 1, 2, 3], "o": [1, 2, 3, 4]}
    assert result.seen == {"busy": [(1, 1), (2, 1), (3, 1), (4, 1)]}


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("valid falls", "o: valid fell before ready, cycle 2"),
        ("payload changes", "o: payload changed before ready, cycle 2"),
        ("looks at rubbish", "o: beat 4 in cycle "),
        ("waits for ready", "after 60 cycles: "),
    ],
)
def test_a_broken_rule_fails_with_its_port(flaw, message):
    with pytest.raises(AssertionError) as caught:
        run(flaw, stalls=(2,))
    assert str(caught.value).startswith(message)


def test_missing_and_surplus_beats_fail():
    with pytest.raises(AssertionError, match="after 60 cycles: o: 4 of 5 beats"):
        run(count=5)
    with pytest.raises(AssertionError, match="o: beat 3 in cycle 4"):
        run(count=3)
