"""Bins of functional coverage that a stream fills: settings, codewords, places of segments."""

from collections.abc import Iterable, Iterator
from itertools import product

from egress.code import ExpGolomb
from egress.record import Header, find_segments
from egress.reference import read_codeword, read_symbol
from egress.setting import MAX_RUN, MAX_SYMBOL, THRESHOLDS, Mode, Setting
from egress_sim.shape import Shape

Bin = tuple[str, str]
"""Group and name."""

CODED = (Mode.PLAIN, Mode.ZERO_RUN, Mode.JOINT)

# Kinds of codewords, with the most leading zeros and the fewest bits that one may have. Runs and
# slots are counted with the bit that follows them.
KINDS = {"symbol": (23, 1), "run": (22, 2), "slot": (22, 2), "magnitude": (23, 1)}


def all_bins(shape: Shape) -> list[Bin]:
    """Give all bins of streams, for a core of ``shape``."""
    return [*_setting_bins(), *_codeword_bins(), *_place_bins(shape)]


def _setting_bins() -> Iterator[Bin]:
    flags = list(product((0, 1), repeat=3))
    for mode in CODED:
        name = mode.name.lower()
        numbers = ["order", "head", "first"]
        if mode is not Mode.PLAIN:
            numbers += ["magnitude_order", "magnitude_head"]
        for number, value in product(numbers, range(16)):
            yield f"{name}: order, head, first of each code", f"{number} {value}"
        third = "swap" if mode is Mode.PLAIN else "magnitude_half"
        for a, b, c in flags:
            yield f"{name}: half x first_half x {third}", f"{a} {b} {c}"
    codes = ["plain", "zero_run", "joint", "magnitude"]
    sizes = ("0", "1..3", "4..15"), ("0", "1..7", "8..15"), ("0", "1")
    for values in product(codes, *sizes):
        yield "code: order x head x half", " ".join(values)
    for threshold, stride in product(THRESHOLDS, (2, 4, 8, None)):
        yield "joint: threshold x stride", f"{threshold} {stride}"
    for width in range(1, 17):
        yield "raw: width", f"{width}"


def _codeword_bins() -> Iterator[Bin]:
    for kind, (zeros, shortest) in KINDS.items():
        for number in range(zeros + 1):
            yield "codeword: leading zeros", f"{kind} {number}"
        for length in range(shortest, 33):
            yield "codeword: bits", f"{kind} {length}"
        for part in ("whole", "first half", "second half"):
            yield "codeword: class", f"{kind} {part}"
        for where in ("within", "longer"):
            yield "codeword: against the window", f"{kind} {where}"
    for run in ("0", "1", f"{MAX_RUN - 1}", f"{MAX_RUN}", "ends the segment"):
        yield "runs", run


def _place_bins(shape: Shape) -> Iterator[Bin]:
    for mode, bits in product(Mode, range(32)):
        yield "segment: bits in its last word", f"{mode.name.lower()} {bits}"
    columns = range(shape.bus // 32)
    for begin, end in product(columns, columns):
        yield "segment: columns of the bus of header and end", f"{begin} {end}"
    for size in ("1 word", "2 words", "all words of a slot"):
        yield "segment: size", size
    for column in columns:
        yield "record: column of its end", f"{column}"
    for count in range(1, 5):
        yield "record: settings", f"{count}"
    for bits in (8, 16):
        yield "record: level bits", f"{bits}"
    for segments in ("1", "lanes missing", "contexts missing", "full rounds"):
        if shape.lanes > 1 or segments != "lanes missing":
            yield "record: segments", segments
    for group in ("1", "2..", "more than segments"):
        yield "record: interleave", group


def bins_of(records: Iterable[bytes], shape: Shape, window: int) -> set[Bin]:
    """Give the bins that good records fill, which follow each other in a stream.

    Parameters
    ----------
    records : iterable of bytes
    shape : Shape
        Of the core that decodes them.
    window : int
        Bits of its step.
    """
    found: set[Bin] = set()
    columns = shape.bus // 32
    at = 0  # word of the stream
    for record in records:
        header = Header.unpack(record)
        found.update(_of_header(header, shape))
        for segment in find_segments(header, record):
            setting = segment.setting
            found.update(_of_setting(setting))
            payload = record[segment.start : segment.start + 4 * segment.words]
            bits = f"{int.from_bytes(payload, 'big'):0{32 * segment.words}b}"
            steps = list(_walk(bits, segment.weights, setting, header.level_bits, window))
            found.update(*(some for _, some in steps))
            end, _ = steps[-1]
            mode = setting.mode.name.lower()
            found.add(("segment: bits in its last word", f"{mode} {end % 32}"))
            first = at + segment.start // 4 - 1
            places = first % columns, (first + segment.words) % columns
            found.add(("segment: columns of the bus of header and end", "{} {}".format(*places)))
            sizes = {1: "1 word", 2: "2 words", 1 << shape.buffer: "all words of a slot"}
            if segment.words in sizes:
                found.add(("segment: size", sizes[segment.words]))
        at += len(record) // 4
        found.add(("record: column of its end", f"{(at - 1) % columns}"))
    return found


def _of_header(header: Header, shape: Shape) -> Iterator[Bin]:
    yield "record: settings", f"{len(header.settings)}"
    yield "record: level bits", f"{header.level_bits}"
    a_round = shape.lanes * shape.contexts
    if header.segments == 1:
        yield "record: segments", "1"
    if header.segments % shape.lanes:
        yield "record: segments", "lanes missing"
    if -(-header.segments // shape.lanes) % shape.contexts:
        yield "record: segments", "contexts missing"
    if header.segments % a_round == 0:
        yield "record: segments", "full rounds"
    dealt = "1" if header.interleave == 1 else "2.."
    beyond = header.interleave > header.segments
    yield "record: interleave", "more than segments" if beyond else dealt


def _of_setting(setting: Setting) -> Iterator[Bin]:
    if setting.mode is Mode.RAW:
        yield "raw: width", f"{setting.order + 1}"
        return
    name = setting.mode.name.lower()
    numbers = ["order", "head", "first"]
    third = setting.swap
    codes = [(name, setting.order, setting.head, setting.half)]
    if setting.mode is not Mode.PLAIN:
        numbers += ["magnitude_order", "magnitude_head"]
        third = setting.magnitude_half
        codes.append(("magnitude", setting.magnitude_order, setting.magnitude_head, third))
    for number in numbers:
        yield f"{name}: order, head, first of each code", f"{number} {getattr(setting, number)}"
    flag = "swap" if setting.mode is Mode.PLAIN else "magnitude_half"
    values = " ".join(str(int(value)) for value in (setting.half, setting.first_half, third))
    yield f"{name}: half x first_half x {flag}", values
    for code, order, head, half in codes:
        orders = "0" if order == 0 else "1..3" if order < 4 else "4..15"
        heads = "0" if head == 0 else "1..7" if head < 8 else "8..15"
        yield "code: order x head x half", f"{code} {orders} {heads} {int(half)}"
    if setting.mode is Mode.JOINT:
        yield "joint: threshold x stride", f"{setting.threshold} {setting.stride}"


def _walk(
    bits: str, weights: int, setting: Setting, level_bits: int, window: int
) -> Iterator[tuple[int, list[Bin]]]:
    """Decode a payload; after each codeword give its end and its bins."""

    def codeword(kind: str, at: int, end: int, code: ExpGolomb, following: int = 0) -> list[Bin]:
        zeros = bits.index("1", at) - at
        size = code.size(code.zeros(zeros))
        part = "whole"
        if size & (size - 1):
            part = "first half" if bits[at + zeros + 1] == "1" else "second half"
        length = end - at + following
        where = "longer" if length > window else "within"
        return [
            ("codeword: leading zeros", f"{kind} {zeros}"),
            ("codeword: bits", f"{kind} {length}"),
            ("codeword: class", f"{kind} {part}"),
            ("codeword: against the window", f"{kind} {where}"),
        ]

    at = levels = 0
    while levels < weights:
        if setting.mode in (Mode.PLAIN, Mode.RAW):
            _, end = read_symbol(bits, at, setting, level_bits)
            levels += 1
            raw = setting.mode is Mode.RAW
            yield end, [] if raw else codeword("symbol", at, end, setting.code)
            at = end
            continue
        joint = setting.mode is Mode.JOINT
        symbol, end = read_codeword(bits, at, setting.code, MAX_SYMBOL, following=1)
        run, big = setting.unslot(symbol) if joint else (symbol, False)
        found = codeword("slot" if joint else "run", at, end, setting.code, 1)
        levels += run
        if levels == weights:
            found.append(("runs", "ends the segment"))
        if f"{run}" in ("0", "1", f"{MAX_RUN - 1}", f"{MAX_RUN}"):
            found.append(("runs", f"{run}"))
        at = end
        if run == MAX_RUN or levels == weights or (joint and not big):
            levels += run != MAX_RUN and levels != weights
            at += 1
            yield at, found
            continue
        yield at, found
        largest = setting.max_magnitude_symbol(level_bits)
        _, end = read_codeword(bits, at, setting.magnitude_code, largest)
        levels += 1
        yield end, codeword("magnitude", at, end, setting.magnitude_code)
        at = end
