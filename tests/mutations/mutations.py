"""Mutations of the hardware: small changes, each of which makes it wrong."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of a module of `egress_hw`.

    Members
    -------
    file : str
        Without folder and ending.
    old, new : str
        Text that is there once, and what is put in its place.
    note : str
        What is wrong then.
    tests : tuple of str
        Arguments of pytest: tests that are to catch it; by default those of `TESTS`.
    """

    file: str
    old: str
    new: str
    note: str
    tests: tuple[str, ...] = ()


def mutated(mutation: Mutation, source: str) -> str:
    """Give a module's source with the change.

    Raises
    ------
    LookupError
        If the text is not there once.
    """
    count = source.count(mutation.old)
    if count != 1:
        raise LookupError(
            f"{mutation.file}.py has {count} times {mutation.old!r}, not once: "
            "the module was changed, so change the mutation"
        )
    return source.replace(mutation.old, mutation.new)


_HW = "tests/egress_hw/"
LANE = (f"{_HW}test_lane.py", "-k", "not runs_are_decoded")
INTAKE = (f"{_HW}test_intake.py", "-k", "not keeps_up")
CORE = (f"{_HW}test_core.py",)
SMALL = (f"{_HW}test_intake.py", f"{_HW}test_microcode.py", "-k", "small")

TESTS = {
    "lane": LANE,
    "lane_queue": LANE,
    "lane_step": LANE,
    "class_table": (f"{_HW}test_class_table.py",),
    "sequencer": (f"{_HW}test_sequencer.py",),
    "stream_slice": (f"{_HW}test_stream_slice.py",),
    "collector": (f"{_HW}test_collector.py",),
    "dequantizer": (f"{_HW}test_dequantizer.py",),
    "intake": INTAKE,
    "splitter": INTAKE,
    "row_splitter": INTAKE,
    "small_intake": SMALL,
    "small_program": SMALL,
    "loader": INTAKE,
    "row_loader": INTAKE,
    "groups": INTAKE,
    "dealer": (f"{_HW}test_dealer.py",),
    "header": (f"{_HW}test_header.py",),
    "status": (f"{_HW}test_status.py", f"{_HW}test_core.py"),
    "core": CORE,
    "bits": (f"{_HW}test_bits.py",),
    "axi": (f"{_HW}test_verilog.py", "-k", "bytes_and_lanes"),
}
"""Tests by module."""

MUTATIONS = (
    # Headers and shares of weights.
    Mutation("header", "(exponent == 0)", "(exponent == 1)", "a subnormal step passes"),
    Mutation("header", "254 - 16, 254 - 8", "254 - 8, 254 - 8", "products overflow"),
    Mutation("header", "setting.order[3] & ~", "setting.order[2] & ~", "raw widths are refused"),
    Mutation("header", " & ~begins", "", "an error outlives its header"),
    Mutation("dealer", "more.eq(~more & ~no_extra)", "more.eq(~no_extra)", "larger shares for all"),
    Mutation("dealer", "extra.eq(last - extra)", "extra.eq(last - extra + 1)", "one share more"),
    Mutation("dealer", "no_rows & no_extra, no_rows", "no_rows, no_rows", "the last group is lost"),
    # Splitting.
    Mutation("splitter", "(words == 0)", "(words == 1)", "empty segments pass"),
    Mutation("splitter", "words > most_words", "words >= most_words", "full segments are refused"),
    Mutation("splitter", "self._upper[12:14].any()", "self._upper[12]", "a reserved bit passes"),
    Mutation("splitter", "self._upper[14:] > ", "self._upper[14:] > 1 + ", "no such setting"),
    Mutation("splitter", "number.eq(~0)", "number.eq(0)", "segments are counted from 1"),
    Mutation("splitter", "(self._lane == 0))", "0)", "a slot is filled that is not free"),
    Mutation("splitter", "bank.eq(~bank)", "bank.eq(bank)", "all rounds go to one bank"),
    Mutation("splitter", "busy[slot].eq(0)", "busy[slot].eq(1)", "slots are never free again"),
    Mutation(
        "splitter",
        "self._padded & ~self._word_heads",
        "0",
        "a record begins after zeros in a beat",
    ),
    Mutation("splitter", "& ~self._inside[1])", ")", "three records' settings at once"),
    Mutation("row_splitter", "self._tail_gone.eq(0)", "self._tail_gone.eq(1)", "tails are lost"),
    Mutation("row_splitter", "within[log:].any()", "within[log:].all()", "short segments"),
    Mutation("row_splitter", "Mux(last_lane, behind, ~0)", "behind", "too few marks"),
    Mutation("row_splitter", "place.first.eq(self._first)", "place.first.eq(0)", "numbers go on"),
    # Loading.
    Mutation("loader", "address.eq(~words)", "address.eq(~words + 1)", "words are a place off"),
    Mutation("loader", "self.word[30:]", "self.word[30]", "two settings of four"),
    Mutation("loader", "(mixed << 5)", "(mixed << 4)", "another polynomial"),
    Mutation("loader", "self.intact.eq(crc == expected)", "self.intact.eq(1)", "no CRC at all"),
    Mutation("loader", "self.done.eq(closing & ends)", "self.done.eq(closing)", "groups too soon"),
    Mutation("row_splitter", "word[16:28] == 1", "0", "segments of a word go on"),
    Mutation("row_loader", "loader.low.eq(number)", "loader.low.eq(0)", "CRC without the number"),
    Mutation("row_loader", "ROWS_DEPTH - ROWS_SLACK", "ROWS_DEPTH", "the queue runs over",
             (f"{_HW}test_intake.py", "-k", "far_behind")),
    Mutation("row_loader", "loader.done | marks[-1]", "loader.done", "marks are not told"),
    Mutation("groups", "fetch.eq(complete.all() & (shows", "fetch.eq(complete.any() & (shows",
             "one loader is enough"),
    Mutation("groups", "bank.eq(bank ^ group.last_of_round)", "bank.eq(~bank)", "a bank a group"),
    Mutation("groups", "fell.eq(~first & (fell | falls))", "fell.eq(~first & falls)", "lengths"),
    Mutation("intake", "at[1:] - (low[-1] & ~at[0])", "at[1:]", "numbers above 2**15",
             ("tests/egress_sim/test_coverage.py", "-k", "high_number")),
    Mutation("intake", "beat << width", "beat << 32", "rows of a word"),
    # The bus side of small cores.
    Mutation("small_program", "p.mask(0x3000)", "p.mask(0x1000)", "a reserved bit passes"),
    Mutation("small_program", 'p.less("words", one=0)', 'p.less("words")', "headers are free"),
    Mutation("small_program", "254 - 16 << 7", "254 - 8 << 7", "products overflow"),
    Mutation("small_program", '"zero-run", 0x803F', '"zero-run", 0x003F', "swapped runs pass"),
    Mutation("small_program", 'p.all_zero("rows_low", "rows_high", "extra")',
             'p.all_zero("rows_low", "rows_high")', "the last group is lost"),
    Mutation("small_program", 'p.keep_in("weights", acc="keep")\n    p.add(1)',
             'p.keep_in("weights", acc="keep")\n    p.add(0)', "no larger shares"),
    Mutation("small_intake", "self._crc.eq(0xFFFF)", "self._crc.eq(0)", "another CRC"),
    Mutation("small_intake", "self.record.valid | inside[1]", "self.record.valid",
             "three records' settings at once"),
    Mutation("small_intake", "busy[slot].eq(1)", "busy[slot].eq(0)", "slots are never in use"),
    Mutation("small_intake", "final | (context == C - 1)", "context == C - 1",
             "a record goes on with the round of the one before"),
    Mutation("small_intake", "(~needs | self._row.valid)", "1", "words are not waited for"),
    # Class table.
    Mutation("class_table", "Mux(joint, 4, 2)", "Mux(joint, 3, 2)", "magnitudes are off"),
    Mutation("class_table", "symbols.eq(Mux(half, 3, 1))", "symbols.eq(1)", "half classes"),
    Mutation("class_table", "length[5] & (length[:5].any() | second)", "length[5]", "32 bits"),
    Mutation("class_table", "unswapped ^ (setting.swap & (", "unswapped ^ (0 & (", "no swap"),
    Mutation("class_table", "grows.eq(reached)", "grows.eq(0)", "suffixes grow once"),
    # Lanes and what they do in step.
    Mutation("sequencer", "state.stale == 0", "1", "what was valid before"),
    Mutation("sequencer", "looked.beat + 1 == ", "looked.beat + 2 == ", "a beat less"),
    Mutation("sequencer", "~ending & (live == 0)", "1", "a record begins in the other"),
    Mutation("sequencer", "looked.beat.eq(0)", "looked.beat.eq(kept.beat)", "beats go on"),
    Mutation("sequencer", "state.left == 1", "state.left == 2", "a beat less of one lane"),
    Mutation("sequencer", "state.left - 1", "state.left - 2", "every other beat of one lane"),
    Mutation("sequencer", "contexts > 2:  # else", "contexts > 4:  # else", "of the next group"),
    Mutation("sequencer", "kept.beat < kept.lengths[number]", "0", "all lanes to the end"),
    Mutation("sequencer", '"last", resets=True', '"last"', "a reset leaves contexts as they were"),
    Mutation("sequencer", "pops | (state.bank != bank)", "pops", "rounds of unequal groups"),
    Mutation("lane_step", "longer.eq(now.zero & ", "longer.eq(now.zero & 0 & ", "half classes"),
    Mutation("lane", "now.go & in_field & bad", "in_field & bad", "what was behind the segment",
             (f"{_HW}test_lane.py", "-k", "behind_a_segments_end")),
    Mutation("lane_step", "upper_address.eq(Mux(sum_[5] | sum_[4],",
             "upper_address.eq(Mux(sum_[5],",
             "the upper half of the word after"),
    Mutation("lane_step", "behind = next_position[-1] &", "behind = 0 &", "no overrun by little"),
    Mutation("lane_queue", "D - (3 if at_once else 2)", "D", "the queue runs over"),
    Mutation("lane_queue", "advances & ~now_dead", "self.pop & ~now_dead",
             "a zero of many frees a place"),
    Mutation("lane_queue", "Mux(advances, two, one)", "one", "the last item is given twice"),
    Mutation("lane_queue", "pushes | (~start", "(~start", "an item is seen a turn late"),
    Mutation("lane_queue", "Mux(start, now_written, ", "Mux(0, now_written, ", "left from before"),
    Mutation("lane_queue", "Cat(told.reason_0, told.reason_1)",
             "Cat(told.reason_1, told.reason_0)", "the reasons"),
    Mutation("lane_queue", "found.damaged\n                |", "0\n                |",
             "damage passes"),
    # Behind the lanes.
    Mutation("collector", "written + arrives", "written + 1", "places are passed over"),
    Mutation("collector", "unknown < depth", "unknown <= depth", "one too many"),
    Mutation("collector", "level.error | ~kept", "level.error", "lanes that have no weight"),
    Mutation("collector", " & ~inside_any)", ")", "empty too soon"),
    Mutation("collector", "Mux(advance, inside[-2][0], self.o.valid)", "inside[-2][0]", "lanes go"),
    Mutation("dequantizer", "rest[:-1].any() | kept[0]", "1", "halves are rounded up"),
    Mutation("dequantizer", "normal_zero | normal_above", "normal_above", "zero is ignored"),
    Mutation("stream_slice", "waits.eq(1)", "waits.eq(0)", "the second item is lost"),
    Mutation("status", "If(~seen):\n                m.d.sync += [bad",
             "If(1):\n                m.d.sync += [bad", "the next beat's lanes"),
    Mutation("status", "lane + context * L", "lane + context", "the segment's number"),
    Mutation("status", "base.eq(base + L * C)", "base.eq(base + L)", "rounds are counted"),
    Mutation("core", "prepared & collector.empty", "prepared", "the step of the record before",
             (f"{_HW}test_core.py", "-k", "records_step")),
    Mutation("core", "Mux(lane.error, lane.magnitude[:2], 0)", "lane.magnitude[:2]", "all lost"),
    Mutation("core", "Mux(joint, threshold_of(setting), 0)", "0", "no threshold"),
    Mutation("bits", "count = Cat(Mux(high_none, low_count, high_count)", "count = Cat(high_count",
             "places in the lower half"),
    Mutation("axi", "Cat(*reversed(from_first))", "Cat(*from_first)", "bytes in the other order"),
    Mutation("axi", "self.m_axis_tuser.eq(beat.error)", "self.m_axis_tuser.eq(0)", "no flags"),
)  # fmt: skip
"""What tests must catch."""
