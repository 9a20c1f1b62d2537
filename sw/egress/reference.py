"""Scalar reference of the segment codec, as plain as the format's text (FORMAT.md, section 5).

Everything faster is tested for equality with this module, bit for bit. It works on strings of
``0`` and ``1`` and is meant to be read.
"""

from collections.abc import Sequence

from egress.code import ExpGolomb
from egress.errors import BitstreamError, Reason
from egress.record import Header, Segment, find_segments
from egress.setting import (
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
        If a level is out of range, or does not fit the width of a raw setting.
    """
    setting.check(level_bits)
    largest = max_level(level_bits)
    for index, level in enumerate(levels):
        if not -largest <= level <= largest:
            raise ValueError(f"level {index} must be within -{largest}..{largest}, not {level}")
    if setting.mode is Mode.PLAIN:
        return "".join(setting.code.codeword(level_to_symbol(level)) for level in levels)
    if setting.mode is Mode.RAW:
        width = setting.order + 1
        symbols = [level_to_symbol(level) for level in levels]
        for index, symbol in enumerate(symbols):
            if symbol >> width:
                raise ValueError(f"level {index} must fit {width} raw bits, not {levels[index]}")
        return "".join(f"{symbol:0{width}b}" for symbol in symbols)
    return "".join(_encode_runs(levels, setting))


def _encode_runs(levels: Sequence[int], setting: Setting) -> list[str]:
    joint = setting.mode is Mode.JOINT

    def run_codeword(run: int, big: bool, sign: int) -> str:
        symbol = setting.slot(run, big) if joint else run
        return setting.code.codeword(symbol) + str(sign)

    bits = []
    run = 0
    for level in levels:
        if level == 0:
            run += 1
            if run == setting.max_run:
                bits.append(run_codeword(run, False, 0))
                run = 0
            continue
        magnitude, sign = abs(level), int(level < 0)
        big = joint and magnitude > 1
        bits.append(run_codeword(run, big, sign))
        if big:
            bits.append(setting.magnitude_code.codeword(magnitude - 2))
        elif not joint:
            bits.append(setting.magnitude_code.codeword(magnitude - 1))
        run = 0
    if run:
        bits.append(run_codeword(run, False, 0))
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
            symbol, at = _read_symbol(bits, at, setting, level_bits)
            levels.append(symbol_to_level(symbol))
    if len(bits) - at >= WINDOW_BITS or "1" in bits[at:]:
        raise BitstreamError(Reason.BAD_PADDING, f"{len(bits) - at} bits are left", bit_offset=at)
    return levels


def _read_symbol(
    bits: str, at: int, setting: Setting, level_bits: int, following: int = 0
) -> tuple[int, int]:
    """Read a symbol of the first code, or a raw field; ``following`` bits after it must exist."""
    largest = setting.max_symbol(level_bits)
    if setting.mode is not Mode.RAW:
        return _read_codeword(bits, at, setting.code, largest, following)
    end = at + setting.order + 1
    if end > len(bits):
        raise BitstreamError(Reason.OVERRUN, "truncated raw field", bit_offset=at)
    return _bounded(int(bits[at:end], 2), largest, at), end


def _read_codeword(
    bits: str, at: int, code: ExpGolomb, largest: int, following: int = 0
) -> tuple[int, int]:
    if code.extent(bits, at)[1] + following > len(bits):
        raise BitstreamError(Reason.OVERRUN, "truncated codeword", bit_offset=at)
    symbol, end = code.decode(bits, at)
    return _bounded(symbol, largest, at), end


def _bounded(symbol: int, largest: int, at: int) -> int:
    if symbol > largest:
        raise BitstreamError(
            Reason.BAD_CODEWORD, f"symbol {symbol} exceeds {largest}", bit_offset=at
        )
    return symbol


def _decode_runs(
    bits: str, weights: int, setting: Setting, level_bits: int
) -> tuple[list[int], int]:
    joint = setting.mode is Mode.JOINT
    levels: list[int] = []
    at = 0
    while len(levels) < weights:
        start = at
        symbol, at = _read_symbol(bits, at, setting, level_bits, following=1)
        run, big = setting.unslot(symbol) if joint else (symbol, False)
        negative = bits[at] == "1"
        at += 1
        if run > setting.max_run or (big and run == setting.max_run):
            raise BitstreamError(
                Reason.BAD_CODEWORD, f"run {run} exceeds the run limit", bit_offset=start
            )
        if len(levels) + run > weights:
            raise BitstreamError(
                Reason.BAD_CODEWORD,
                f"run {run} exceeds the {weights - len(levels)} levels left",
                bit_offset=start,
            )
        levels += [0] * run
        if run == setting.max_run or len(levels) == weights:
            if negative or big:
                raise BitstreamError(
                    Reason.BAD_CODEWORD, "sign or big bit without a level", bit_offset=start
                )
            continue
        magnitude = 1
        if big or not joint:
            start = at
            largest = setting.max_magnitude_symbol(level_bits)
            symbol, at = _read_codeword(bits, at, setting.magnitude_code, largest)
            magnitude = symbol + (2 if joint else 1)
        levels.append(-magnitude if negative else magnitude)
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
