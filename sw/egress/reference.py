"""Scalar reference of the segment codec, as plain as the format's text (FORMAT.md, section 5).

Everything faster is tested for equality with this module, bit for bit. It works on strings of
``0`` and ``1`` and is meant to be read.
"""

from collections.abc import Sequence

from egress.code import ExpGolomb
from egress.errors import BitstreamError, Reason
from egress.record import Header, Segment, find_segments
from egress.setting import (
    MAX_RUN,
    MAX_SLOT,
    MAX_SYMBOL,
    WINDOW_BITS,
    Mode,
    Setting,
    level_to_symbol,
    max_level,
    symbol_to_level,
)


def encode_segment(levels: Sequence[int], setting: Setting, level_bits: int = 8) -> str:
    """Encode the levels of one segment; the bits before padding.

    Raises
    ------
    ValueError
        If a level is out of range, does not fit the width of a raw setting, or needs a codeword
        that breaks the window rule or a slot above `MAX_SLOT`.
    """
    setting.check(level_bits)
    largest = max_level(level_bits)
    for index, level in enumerate(levels):
        if not -largest <= level <= largest:
            raise ValueError(f"level {index} must be within -{largest}..{largest}, not {level}")
    if setting.mode is Mode.PLAIN:
        return "".join(_codeword(setting.code, level_to_symbol(level)) for level in levels)
    if setting.mode is Mode.RAW:
        width = setting.order + 1
        symbols = [level_to_symbol(level) for level in levels]
        for index, symbol in enumerate(symbols):
            if symbol >> width:
                raise ValueError(f"level {index} must fit {width} raw bits, not {levels[index]}")
        return "".join(f"{symbol:0{width}b}" for symbol in symbols)
    return "".join(_encode_runs(levels, setting))


def _codeword(code: ExpGolomb, symbol: int, following: int = 0) -> str:
    """Codeword of ``symbol``; with ``following`` bits after it, it must keep the window rule."""
    bits = code.codeword(symbol)
    if len(bits) + following > WINDOW_BITS:
        raise ValueError(f"the codeword of symbol {symbol} in {code} exceeds {WINDOW_BITS} bits")
    return bits


def _encode_runs(levels: Sequence[int], setting: Setting) -> list[str]:
    joint = setting.mode is Mode.JOINT

    def run_codeword(run: int, big: bool) -> str:
        symbol = setting.slot(run, big) if joint else run
        if symbol > MAX_SLOT:
            raise ValueError(f"a run of {run} before a magnitude above one needs slot {symbol}")
        return _codeword(setting.code, symbol, following=1)

    bits = []
    run = 0
    for level in levels:
        if level == 0:
            run += 1
            if run == MAX_RUN:
                bits += [run_codeword(run, False), "0"]
                run = 0
            continue
        big = joint and abs(level) > 1
        if big and setting.stride is None:
            raise ValueError(f"level {level} has no codeword in a joint setting without a stride")
        bits.append(run_codeword(run, big))
        if joint and not big:
            bits.append("1" if level < 0 else "0")
        else:
            symbol = level_to_symbol(level) - setting.magnitude_base
            bits.append(_codeword(setting.magnitude_code, symbol))
        run = 0
    if run:
        bits += [run_codeword(run, False), "0"]
    return bits


def decode_segment(bits: str, weights: int, setting: Setting, level_bits: int = 8) -> list[int]:
    """Decode a payload, padding included, to exactly ``weights`` levels.

    Raises
    ------
    BitstreamError
        With the reason of FORMAT.md, section 9, and ``bit_offset`` from the start of the payload:
        that of the codeword concerned, or of the first bit of the padding.
    """
    if setting.mode in (Mode.ZERO_RUN, Mode.JOINT):
        levels, at = _decode_runs(bits, weights, setting, level_bits)
    else:
        levels, at = [], 0
        for _ in range(weights):
            symbol, at = read_symbol(bits, at, setting, level_bits)
            levels.append(symbol_to_level(symbol))
    if len(bits) - at >= WINDOW_BITS or "1" in bits[at:]:
        raise BitstreamError(Reason.BAD_PADDING, f"{len(bits) - at} bits are left", bit_offset=at)
    return levels


def read_symbol(bits: str, at: int, setting: Setting, level_bits: int) -> tuple[int, int]:
    """Read the symbol of one level, a codeword of the plain mode or a raw field, and its end."""
    largest = setting.max_symbol(level_bits)
    if setting.mode is not Mode.RAW:
        return read_codeword(bits, at, setting.code, largest)
    end = at + setting.order + 1
    if end > len(bits):
        raise BitstreamError(Reason.OVERRUN, "truncated raw field", bit_offset=at)
    symbol = int(bits[at:end], 2)
    if symbol > largest:
        raise _bad(at, f"symbol {symbol} exceeds {largest}")
    return symbol, end


def read_codeword(
    bits: str, at: int, code: ExpGolomb, largest: int, following: int = 0
) -> tuple[int, int]:
    """Read a codeword; ``following`` bits after it belong to the same step of a decoder."""
    end = code.extent(bits, at)[1]
    if min(end + following, at + WINDOW_BITS + 1) > len(bits):
        raise BitstreamError(Reason.OVERRUN, "truncated codeword", bit_offset=at)
    if end + following > at + WINDOW_BITS:
        raise _bad(at, f"codeword of more than {WINDOW_BITS} bits")
    symbol, end = code.decode(bits, at)
    if symbol > largest:
        raise _bad(at, f"symbol {symbol} exceeds {largest}")
    return symbol, end


def _bad(at: int, detail: str) -> BitstreamError:
    return BitstreamError(Reason.BAD_CODEWORD, detail, bit_offset=at)


def _decode_runs(
    bits: str, weights: int, setting: Setting, level_bits: int
) -> tuple[list[int], int]:
    joint = setting.mode is Mode.JOINT
    levels: list[int] = []
    at = 0
    while len(levels) < weights:
        start = at
        symbol, at = read_codeword(bits, at, setting.code, MAX_SYMBOL, following=1)
        run, big = setting.unslot(symbol) if joint else (symbol, False)
        if run > MAX_RUN or (big and run == MAX_RUN):
            raise _bad(start, f"run {run} exceeds the run limit")
        if len(levels) + run > weights:
            raise _bad(start, f"run {run} exceeds the {weights - len(levels)} levels left")
        levels += [0] * run
        if run == MAX_RUN or len(levels) == weights:
            if big or bits[at] == "1":
                raise _bad(start, "a level after a run that none follows")
            at += 1
        elif joint and not big:
            levels.append(-1 if bits[at] == "1" else 1)
            at += 1
        else:
            largest = setting.max_magnitude_symbol(level_bits)
            symbol, at = read_codeword(bits, at, setting.magnitude_code, largest)
            levels.append(symbol_to_level(symbol + setting.magnitude_base))
    return levels, at


def decode_payload(record: bytes | memoryview, header: Header, segment: Segment) -> list[int]:
    """Decode one segment of a record to its levels.

    Raises
    ------
    BitstreamError
        As `decode_segment`, with ``bit_offset`` from the start of the record and the segment.
    """
    payload = bytes(record[segment.start : segment.start + 4 * segment.words])
    bits = f"{int.from_bytes(payload, 'big'):0{32 * segment.words}b}"
    try:
        return decode_segment(bits, segment.weights, segment.setting, header.level_bits)
    except BitstreamError as error:
        raise BitstreamError(
            error.reason,
            error.detail,
            bit_offset=8 * segment.start + (error.bit_offset or 0),
            segment=segment.number,
        ) from None


def decode_record(record: bytes) -> list[int]:
    """Decode a whole record to the levels of its tensor.

    Raises
    ------
    BitstreamError
        As `egress.decode`.
    """
    header = Header.unpack(record)
    levels = [0] * header.weights
    for segment in find_segments(header, record):
        levels[header.segment_slice(segment.number)] = decode_payload(record, header, segment)
    return levels


def decode_until_fault(
    payload: bytes, weights: int, setting: Setting, level_bits: int
) -> tuple[list[int], Reason | None]:
    """Decode as hardware does: levels before the first bad codeword, and why it is refused.

    What is after the last level is not looked at, and a run that goes beyond it is cut.
    """
    bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
    levels: list[int] = []
    try:
        if setting.mode in (Mode.PLAIN, Mode.RAW):
            at = 0
            for _ in range(weights):
                symbol, at = read_symbol(bits, at, setting, level_bits)
                levels.append(symbol_to_level(symbol))
        else:
            _decode_runs_until_fault(levels, bits, weights, setting, level_bits)
    except BitstreamError as error:
        if len(levels) < weights:
            return levels, error.reason
    return levels[:weights], None


def _decode_runs_until_fault(
    levels: list[int], bits: str, weights: int, setting: Setting, level_bits: int
) -> None:
    """Append the levels of a segment of a run mode, as far as they can be decoded."""
    joint = setting.mode is Mode.JOINT
    largest = setting.max_magnitude_symbol(level_bits)
    at = 0
    while len(levels) < weights:
        symbol, at = read_codeword(bits, at, setting.code, MAX_SYMBOL, following=1)
        run, big = setting.unslot(symbol) if joint else (symbol, False)
        goes_on = big or bits[at] == "1"
        if run > MAX_RUN or (run == MAX_RUN and goes_on):
            raise BitstreamError(Reason.BAD_CODEWORD, f"run {run} exceeds the run limit")
        levels += [0] * run
        if run == MAX_RUN:
            at += 1
        elif joint and not big:
            levels.append(-1 if bits[at] == "1" else 1)
            at += 1
        else:
            symbol, at = read_codeword(bits, at, setting.magnitude_code, largest)
            levels.append(symbol_to_level(symbol + setting.magnitude_base))
