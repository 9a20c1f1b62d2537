import random
import re

import pytest
from amaranth.sim import Simulator

from egress_hw.board.store import Store


def play(words, bus, actions, *, stall, cycles_after=60):
    """Run inputs, one dict a cycle; the beats, and ``room`` and ``lacks`` of each cycle."""
    dut = Store(words, bus)
    beats, seen = [], []
    names = ("word", "put", "commit", "revert", "retract", "ended")
    rng = random.Random(stall)

    async def bench(ctx):
        held = None
        for action in [*actions, *[actions[-1] | {"put": 0, "commit": 0}] * cycles_after]:
            for name in names:
                ctx.set(getattr(dut, name), action.get(name, 0))
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            await ctx.delay(1e-7)
            seen.append((ctx.get(dut.room), ctx.get(dut.lacks)))
            valid, payload = ctx.get(dut.o.valid), ctx.get(dut.o.payload)
            if held is not None:
                assert valid
                assert payload == held
            held = payload if valid and not ready else None
            if valid and ready:
                beats.append(payload)
            await ctx.tick()
        assert ctx.get(dut.empty)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return beats, seen


def beats_of(words, bus):
    each = bus // 32
    words = [*words, *[0] * (-len(words) % each)]
    return [
        int.from_bytes(b"".join(w.to_bytes(4, "big") for w in words[at : at + each]), "big")
        for at in range(0, len(words), each)
    ]


@pytest.mark.parametrize("stall", [0.0, 0.4])
@pytest.mark.parametrize("bus", [32, 64, 128])
def test_committed_words_come_out_in_order_and_others_do_not(bus, stall):
    rng = random.Random(bus)
    actions, kept = [], []
    for _ in range(12):
        frame = [rng.getrandbits(32) for _ in range(rng.randint(1, 4))]
        for word in frame:
            actions += [{"word": word, "put": 1}, *[{}] * 8]
        if rng.random() < 0.7:
            # As of a frame: the last one was its CRC.
            actions.append({"commit": 1, "retract": 1, "revert": 1})
            kept += frame[:-1]
        else:
            actions.append({"revert": 1})
        actions += [{}] * 9
    actions.append({"ended": 1})
    beats, _ = play(16, bus, actions, stall=stall)
    assert beats == beats_of(kept, bus)


def test_words_committed_one_by_one_come_a_beat_a_cycle():
    actions = [{"word": at, "put": 1, "commit": 1} for at in range(30)]
    beats, _ = play(16, 32, actions, stall=0.0)
    assert beats == list(range(30))


def test_a_word_without_a_place_is_left_out_and_told():
    fill = [{"word": at, "put": 1} for at in range(16)]
    # The seventeenth may be a CRC; with one more, a word of the stream was left out.
    fits = [*fill, {"word": 99, "put": 1}, {"commit": 1, "retract": 1, "revert": 1}]
    beats, seen = play(16, 32, [*fits, {}], stall=0.0)
    assert beats == list(range(16))
    assert not any(lacks for _, lacks in seen)
    _, seen = play(16, 32, [*fill, *[{"word": 99, "put": 1}] * 2, {}, {"revert": 1}], stall=0.0)
    assert [lacks for _, lacks in seen][-62:-60] == [1, 1]
    assert seen[-1] == (16, 0)


def test_room_is_what_there_is():
    actions = [{"word": 1, "put": 1, "commit": 1}] * 5
    _, seen = play(16, 32, [*actions, {}, {}, {}], stall=0.0)
    # Each word is gone two cycles after its commit.
    assert [room for room, _ in seen[:9]] == [16, 16, 15, 14, 14, 14, 14, 15, 16]


def test_sizes_that_cannot_be_are_refused():
    for words, bus, least in ((3, 32, 4), (12, 32, 4), (8, 128, 16)):
        message = f"words must be a power of two and at least {least}, not {words}"
        with pytest.raises(ValueError, match=re.escape(message)):
            Store(words, bus)
