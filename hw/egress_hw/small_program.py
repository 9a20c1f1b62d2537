"""The program of the small core's bus side: headers, shares of weights, segments."""

from egress.errors import Reason
from egress.record import BUFFER_RANGE, MAGIC, VERSION
from egress_hw.microcode import HALF, Condition, Program, Source


def program(buffer: int, max_level_bits: int) -> Program:
    """Program for slots of ``1 << buffer`` words and levels of at most ``max_level_bits``."""
    p = Program()
    p.register(0)
    _magic(p)
    _fields(p, buffer, max_level_bits)
    _settings(p)
    _verdict(p)
    _divide(p)
    _share(p)
    _segment(p)
    _payload(p)
    _refuse(p)
    return p


def _magic(p: Program) -> None:
    """Check word 0; pass zeros before it, up to the end of a beat of the bus."""
    magic = MAGIC << 8 | VERSION
    p.label("home")
    # A fault in a header is told of with the number 0.
    p.do("home", "number_low", "of_fault", fresh=True)
    p.do("home", "number_high", "of_fault")
    p.go(Condition.NO_RECORD, "home", "home")
    p.load("upper", "home", "begin_crc")
    p.less(magic >> 16, home=1)
    p.go(Condition.ZERO, "magic", "home", to="other")
    p.label("magic")
    p.load("lower", "home")
    p.less(magic & HALF, home=1)
    p.go(Condition.ZERO, "version", "home", to="lower")
    p.label("version")
    p.word(True, take=1, to="fields")

    p.label("lower")  # of the magic, or the version
    p.load("lower")
    p.mask(0xFF00)
    p.less(magic & 0xFF00)
    p.go(Condition.ZERO, "bad version", to="bad magic")

    p.label("other")
    p.go(Condition.HEAD, "bad magic", "home")
    p.label("padding")
    p.load("upper", "home")
    p.go(Condition.ZERO, "padding's lower", "home", to="bad magic")
    p.label("padding's lower")
    p.load("lower", "home")
    p.go(Condition.ZERO, "pads", "home", to="bad magic")
    p.label("pads")
    p.word(True, "home", take=1)
    p.word(True, "home")  # waits for a word
    p.go(Condition.HEAD, "home", "home", to="padding")


def _fields(p: Program, buffer: int, max_level_bits: int) -> None:
    """Check words 1 to 4."""
    low, high = (limit << 11 for limit in BUFFER_RANGE)
    p.label("fields")
    p.keep_in("bad")  # the accumulator is clear
    p.keep_in("unsupported")
    p.load("upper", register="fields", writes=1)
    p.mask(0x7800)
    p.less(low)
    p.keep_in("size", acc="keep")  # of a segment: 32 words shifted by this
    p.less(high - low + (1 << 11), acc="clear")
    p.count("bad")
    p.load("size")
    p.less((buffer + 1 << 11) - low, acc="clear")
    p.count("unsupported")
    p.load("fields")
    p.mask(0x0100)
    p.count_unless_zero("bad")
    p.load("fields")
    p.mask(0x0600)
    p.keep_in("count")  # settings less one, in these bits
    p.load("fields")
    p.mask(0x00FF)
    p.add(1)
    p.keep_in("interleave")
    p.load("fields")
    p.mask(0x8000)
    p.keep_in("wide", acc="keep")
    if max_level_bits == 8:
        p.count_unless_zero("unsupported")
    else:
        p.do()
    # The step's sign and exponent: neither below 1 nor above what the levels allow.
    p.load("lower")
    p.mask(0xFF80)
    p.less(1 << 7)
    p.keep_in("step")
    p.load("wide")
    p.go(Condition.ZERO, "narrow")
    p.load("step")
    p.less(254 - 16 << 7, acc="clear", to="stepped")
    p.label("narrow")
    p.load("step")
    p.less(254 - 8 << 7, acc="clear")
    p.label("stepped")
    p.count("bad")
    p.word(True, "parameters", take=1)

    p.load("upper", register="rows_high", writes=1, acc="clear")
    p.load("lower", register="rows_low", writes=1, acc="clear")
    p.all_zero("rows_low", "rows_high")
    p.count("bad")
    p.word(True, take=1)

    p.load("upper", register="weights", writes=1, acc="clear")
    p.all_zero("weights")
    p.count("bad")
    p.load("lower", register="crc", writes=1, acc="clear")
    p.do(source=Source.REGISTER, register=0, take=1)

    p.load("upper", register="left_high", writes=1, acc="clear")
    p.load("lower", register="left_low", writes=1, acc="clear")
    p.word(True, take=1)


def _settings(p: Program) -> None:
    """Check settings, and pass them on."""
    p.keep_in("index")  # in the bits of `count`
    p.keep_in("top")  # in those of a segment's header
    p.label("setting")
    p.load("upper")
    p.mask(0xC000)
    p.less(0xC000)
    p.go(Condition.ZERO, "raw", acc="keep")
    p.add(0x4000)
    p.go(Condition.ZERO, "joint", acc="keep")
    p.add(0x4000)
    p.go(Condition.ZERO, "zero-run", to="plain")
    for mode, unused in (("plain", 0x7FFF), ("zero-run", 0x803F), ("joint", 0x8000)):
        p.label(mode)
        p.load("lower")
        p.mask(unused, to="used")
    p.label("raw")
    p.load("wide")
    p.go(Condition.ZERO, "narrow raw")
    p.load("upper")
    p.mask(0x03FF, to="raw's upper")
    p.label("narrow raw")
    p.load("upper")
    p.mask(0x23FF)
    p.label("raw's upper")
    p.count_unless_zero("bad")
    p.load("lower")
    p.label("used")
    p.count_unless_zero("bad")
    p.load("top")
    p.word(True, "setting", take=1)
    p.load("count")
    p.less("index")
    p.go(Condition.ZERO, "verdict")
    p.load(0x0200)
    p.add("index", writes=1, acc="clear")
    p.load(0x4000)
    p.add("top", writes=1, acc="clear", to="setting")


def _verdict(p: Program) -> None:
    """Tell what is wrong with the header, and how large segments may be."""
    p.label("verdict")
    p.do(source=Source.REGISTER, register="crc", check=1)
    p.go(Condition.BAD_CRC, "bad header crc")
    p.load("bad")
    p.go(Condition.ZERO, "supported?", to="bad header field")
    p.label("supported?")
    p.load("unsupported")
    p.go(Condition.ZERO, "supported", to="buffer too small")
    p.label("supported")
    p.load("left_low")
    p.less(2, acc="clear")
    p.less_one_if_no_carry("left_high", acc="clear")
    p.go(Condition.CARRY, "enter", to="bad length")

    p.label("enter")
    p.do("enter")
    p.keep_in("number_low")
    p.keep_in("number_high")
    p.load(32)
    p.keep_in("most")
    p.load("size")
    p.label("sized")
    p.go(Condition.ZERO, "divide", acc="keep")
    p.less(1 << 11)
    p.keep_in("size")
    p.load("most")
    p.add("most", writes=1, acc="clear")
    p.load("size", to="sized")


def _divide(p: Program) -> None:
    """Divide the weights by the interleave: rows, and what is left over."""
    p.label("divide")
    p.keep_in("extra")
    p.load(1)
    p.less("interleave")
    p.go(Condition.ZERO, "share")
    p.load(32)
    p.keep_in("bits")
    p.label("bit")
    p.load("rows_low")
    p.add("rows_low", writes=1, acc="clear")
    p.load("rows_high")
    p.add("rows_high", writes=1, acc="clear", with_carry=1)
    p.load("extra")
    p.add("extra", writes=1, acc="set", with_carry=1)
    p.less("interleave")
    p.go(Condition.CARRY, "goes", acc="keep", to="goes not")
    p.label("goes")
    p.keep_in("extra")
    p.load(1)
    p.add("rows_low", writes=1, acc="clear")
    p.label("goes not")
    p.do()
    p.load(-1)
    p.add("bits", writes=1)
    p.go(Condition.ZERO, "share", to="bit")


def _share(p: Program) -> None:
    """Find the weights of the next segments, and how many segments there are of so many.

    Of a full group all have ``weights``; of the last the first, as many as are ``extra``, have one
    more than the others: then these are a full group of the rest.
    """
    p.label("share")
    p.load("rows_low")
    p.less("weights")
    p.keep_in("rest")
    p.less_one_if_no_carry("rows_high")
    p.go(Condition.CARRY, "full group", acc="keep", to="last group")
    p.label("full group")
    p.keep_in("rows_high")
    p.load("rest")
    p.keep_in("rows_low")
    p.load("weights")
    p.keep_in("share")
    p.load("interleave")
    p.keep_in("segments", to="segment")
    p.label("last group")
    p.do()
    p.load("extra")
    p.go(Condition.ZERO, "no extra", acc="keep")
    p.keep_in("segments")
    p.load("interleave")
    p.less("extra")
    p.keep_in("interleave")
    p.keep_in("extra")
    p.load("rows_low")
    p.keep_in("weights", acc="keep")
    p.add(1)
    p.keep_in("share", to="segment")
    p.label("no extra")
    p.load("rows_low")
    p.keep_in("weights", to="share")


def _segment(p: Program) -> None:
    """Check a segment's header."""
    p.label("segment")
    p.keep_in("final")
    p.load(-1)
    p.add("segments", writes=1)
    p.go(Condition.ZERO, "last of group", to="enough?")
    p.label("last of group")
    p.all_zero("rows_low", "rows_high", "extra")
    p.count("final")
    p.label("enough?")
    p.load("left_low")
    p.less(2, acc="clear")
    p.less_one_if_no_carry("left_high", acc="clear")
    p.go(Condition.CARRY, "wait", to="bad length")
    p.label("wait")
    p.go(Condition.FULL, "wait")
    p.load("number_low")
    p.do("number_low")
    p.load("number_high")
    p.do("number_high")

    p.load("upper", "begin_crc", register="header", writes=1)
    p.mask(0x3000)
    p.go(Condition.ZERO, "reserved bits", to="bad segment header")
    p.label("reserved bits")
    p.load("header")
    p.mask(0xC000)
    p.keep_in("rest")
    p.load("top")
    p.less("rest", acc="clear")
    p.go(Condition.CARRY, "its setting", to="bad segment header")
    p.label("its setting")
    p.load("header")
    p.mask(0x0FFF)
    p.keep_in("words", acc="keep")
    p.go(Condition.ZERO, "bad segment header")
    p.load("most")
    p.less("words", acc="clear")
    p.go(Condition.CARRY, "its words", to="bad segment header")
    p.label("its words")
    p.load("left_low")
    p.less("words", one=0)
    p.keep_in("left_low")
    p.less_one_if_no_carry("left_high")
    p.keep_in("left_high")
    p.go(Condition.CARRY, "claimed", to="bad length")
    p.label("claimed")
    p.load("lower", register="crc", writes=1, acc="clear")
    p.less("words")
    p.do("place")
    p.do(source=Source.REGISTER, register="number_low", take=1)


def _payload(p: Program) -> None:
    """Store a segment's words, and tell of it after the last."""
    p.label("payload")
    p.word(True, "store", take=1, when=Condition.LAST, true="stored", to="payload")
    p.label("stored")
    p.do(source=Source.REGISTER, register="crc", check=1)
    p.less("words")
    p.do("place")
    p.load("header")
    p.do("close", when=Condition.BAD_CRC, true="damaged", to="loaded")
    p.label("damaged")
    p.do("fault", reason=Reason.BAD_SEGMENT_CRC.value)
    p.label("loaded")
    p.load(1)
    p.add("number_low", writes=1)
    p.do("number_low", "of_fault")
    p.do(
        source=Source.REGISTER, register="number_high", with_carry=1, writes=1, acc="set",
        fresh=True,
    )  # fmt: skip
    p.do("number_high", "of_fault")
    p.load("final")
    p.add(-1, acc="clear")
    p.load("share")
    p.do("deal")
    p.do("done", when=Condition.CARRY, true="end")
    p.load("segments")
    p.go(Condition.ZERO, "share", to="segment")
    p.label("end")
    p.all_zero("left_low", "left_high")
    p.go(Condition.CARRY, "home", to="bad length")


def _refuse(p: Program) -> None:
    """Tell of a fault, and stop."""
    for label, reason in (
        ("bad magic", Reason.BAD_MAGIC),
        ("bad version", Reason.UNSUPPORTED_VERSION),
        ("bad header crc", Reason.BAD_HEADER_CRC),
        ("bad header field", Reason.BAD_HEADER_FIELD),
        ("buffer too small", Reason.BUFFER_TOO_SMALL),
        ("bad segment header", Reason.BAD_SEGMENT_HEADER),
        ("bad length", Reason.BAD_LENGTH),
    ):
        p.label(label)
        p.do("fault", reason=reason.value, to="halt")
    p.label("halt")
    p.do(to="halt")
