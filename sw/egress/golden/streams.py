"""Golden streams: what every decoder must give."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from egress.encode import encode
from egress.golden.build import JOINT_2, JOINT_4, ZERO_RUN, build_record, draw_levels
from egress.setting import Mode, Setting


@dataclass(frozen=True, slots=True)
class Golden:
    """A stream and the levels of its records."""

    name: str
    how: str
    records: list[bytes]
    levels: list[list[int]]


def golden_streams() -> Iterator[Golden]:
    """All golden streams, in order."""

    def one(name: str, how: str, levels: list[int], settings: list[Setting], **kw: Any) -> Golden:
        return Golden(name, how, [build_record(levels, settings, **kw)], [levels])

    dense = draw_levels(700, 1, 200, 20)
    sparse = draw_levels(1500, 2, 60, 190)
    for order in range(6):
        yield one(
            f"plain_eg{order}", f"Exp-Golomb of order {order}, one segment, the paper's step 2^-8.",
            dense, [Setting.exp_golomb(order)],
        )  # fmt: skip
    yield one(
        "plain_head", "Plain mode, order 2 and head 5, step 0.0123291015625 (no power of two).",
        dense, [Setting.exp_golomb(2, head=5)], step=0.0123291015625,
    )  # fmt: skip
    yield one(
        "plain_first_0", "Plain mode: one bit for a zero, order 3 and head 4 for the rest.",
        draw_levels(700, 12, 230, 110), [Setting(Mode.PLAIN, 3, 4, first=0)],
    )  # fmt: skip
    yield one(
        "plain_first_5", "Plain mode: 5 suffix bits first, then order 2 and head 0.",
        dense, [Setting(Mode.PLAIN, 2, 0, first=5)],
    )  # fmt: skip
    yield one(
        "plain_swap", "Plain mode, swapped: two bits for a zero, order 4 and head 7 for the rest.",
        draw_levels(700, 13, 240, 64), [Setting(Mode.PLAIN, 4, 7, first=0, swap=True)],
    )  # fmt: skip
    yield one(
        "plain_swap_first_2", "Plain mode, swapped, first order 2, head 0.",
        dense, [Setting(Mode.PLAIN, 1, 0, first=2, swap=True)],
    )  # fmt: skip
    for half, first_half in ((True, True), (True, False), (False, True)):
        name = "_".join(["plain", *["half"] * half, *["first_half"] * first_half])
        yield one(
            name, "Plain mode, order 2, first order 1, head 3, half classes.", dense,
            [Setting(Mode.PLAIN, 2, 3, first=1, half=half, first_half=first_half)],
        )  # fmt: skip
    yield one(
        "plain_half_swap", "Plain mode, order 3 and head 5, half classes, swapped, two bits first.",
        draw_levels(700, 16, 225, 64), [Setting(Mode.PLAIN, 3, 5, first=0, half=True, swap=True)],
    )  # fmt: skip
    every = [*range(-127, 128), *range(127, -128, -1)]
    yield one(
        "plain_every_level", "Every level of 8 bits, up and down, order 0.",
        every, [Setting.exp_golomb(0)], step=1.0,
    )  # fmt: skip
    yield one(
        "plain_longest", "The longest codewords of 8 bits: order 0, head 15.",
        [127, -127, 0, 126, -126, 64, 1, -1] * 12, [Setting.exp_golomb(0, head=15)],
    )  # fmt: skip
    yield one("raw_8", "Raw mode, 8 bits wide.", dense, [Setting(Mode.RAW, 7)])
    narrow = [min(8, max(-7, level)) for level in dense]
    yield one("raw_4", "Raw mode, 4 bits wide: levels -7 to 8.", narrow, [Setting(Mode.RAW, 3)])
    yield one("raw_1", "Raw mode, 1 bit wide.", [int(v > 0) for v in dense], [Setting(Mode.RAW)])
    yield one("zero_run", "Zero-run mode.", sparse, [ZERO_RUN])
    yield one("joint_2", "Joint mode, stride 2.", sparse, [JOINT_2])
    yield one("joint_4", "Joint mode, stride 4.", sparse, [JOINT_4])
    sparser = draw_levels(1500, 14, 90, 235)
    yield one(
        "joint_8", "Joint mode, stride 8, threshold 28.", sparser,
        [replace(JOINT_4, order=3, first=3, stride=8, threshold=28)],
    )  # fmt: skip
    yield one(
        "joint_none", "Joint mode, no stride: levels 0, 1 and -1.",
        [max(-1, min(1, level)) for level in sparser],
        [replace(JOINT_4, order=2, first=2, half=True, first_half=True, stride=None)],
    )  # fmt: skip
    yield one(
        "joint_dense", "Joint mode, magnitudes whose codeword is the bit after the slot's or more.",
        draw_levels(1500, 15, 70, 90),
        [Setting(Mode.JOINT, 0, 10, first=0, magnitude_order=0, magnitude_head=8)],
    )  # fmt: skip
    yield one(
        "joint_half", "Joint mode, half classes of slots and of magnitudes.",
        draw_levels(1500, 17, 200, 170),
        [
            Setting(
                Mode.JOINT, 0, 3, first=1, half=True, magnitude_order=1, magnitude_head=3,
                magnitude_half=True, threshold=4, stride=2,
            )
        ],
    )  # fmt: skip
    long_runs = [
        level for run in (0, 4095, 4096, 4097, 8192, 1, 8191) for level in [*[0] * run, 1 + run % 3]
    ]
    for name, setting in (
        ("zero_run", replace(ZERO_RUN, order=7, first=7)),
        ("joint", replace(JOINT_4, order=9, first=9)),
    ):
        yield one(
            f"longest_{name}",
            "Runs about the longest of 4096 zeros, and 4096 zeros at the end of the segment.",
            [*long_runs, *[0] * 4096], [setting],
        )  # fmt: skip
    yield one("all_zero", "9000 zeros in the joint mode: nothing but runs.", [0] * 9000,
              [replace(JOINT_4, order=12, first=12)])  # fmt: skip
    yield one("one_weight", "A single weight.", [-1], [Setting.exp_golomb(0)], step=2.0**-126)
    wide = [*draw_levels(300, 4, 250, 30, 32767), 32767, -32767, 0, 32767, -32767]
    wide += [level * 300 for level in draw_levels(200, 5, 200, 60, 100)]
    for name, setting in (
        ("wide_eg0", Setting.exp_golomb(0)),
        ("wide_head", Setting.exp_golomb(7, head=8)),
        ("wide_raw", Setting(Mode.RAW, 15)),
        ("wide_zero_run", replace(ZERO_RUN, magnitude_order=7, magnitude_head=4)),
        ("wide_joint", replace(JOINT_4, magnitude_order=7, magnitude_head=4)),
    ):
        yield one(
            name, f"Levels of 16 bits, {setting.mode.name.lower().replace('_', '-')} mode.",
            wide, [setting], level_bits=16, step=2.0**100,
        )  # fmt: skip
    mixed = draw_levels(3000, 6, 100, 150)
    settings = [Setting.exp_golomb(1, head=3), ZERO_RUN, JOINT_4, Setting(Mode.RAW, 7)]
    for interleave in (1, 4, 7):
        yield one(
            f"four_settings_g{interleave}",
            f"Segments of 110 weights that take four settings in turn, interleave {interleave}; "
            "the last segment or group is short.",
            mixed, settings, profile="small", segment_weights=110, interleave=interleave,
            choice=lambda segment: segment % 4,
        )  # fmt: skip
    yield one(
        "full_buffer", "Payloads of exactly 128 words, the small profile's buffer.",
        draw_levels(1536, 7, 200, 20), [Setting(Mode.RAW, 7)], profile="small", segment_weights=512,
    )  # fmt: skip
    tensors = [
        (draw_levels(7000, 8, 120, 120), 2.0**-6),
        (draw_levels(11, 9, 120, 60), 0.33984375),
        (draw_levels(12000, 10, 40, 225), 2.0**-4),
        (draw_levels(900, 11, 254, 4, 3000), 2.0**-12),
    ]
    yield Golden(
        "model",
        "Four tensors one after another as the encoder writes them, small profile.",
        [encode(levels, step=step, profile="small") for levels, step in tensors],
        [levels for levels, _ in tensors],
    )
