"""Instructions of the small core's bus side, and their assembler (`egress_hw.small_intake`).

An instruction names the next one; if it has a condition, one of two, at an even address where it
does not hold and at the odd one behind where it does. So there is no program counter: what comes
next is what the program's memory says, with the condition for its lowest bit. An instruction that
several conditions lead to is there several times.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from amaranth.lib import data

ROM_WORDS = 512
RAM_WORDS = 64
HALF = 0xFFFF


class Source(IntEnum):
    """Second operand: a half of the word at the input, nothing, a register or its inverse."""

    WORD = 0
    NOTHING = 1
    REGISTER = 2
    INVERSE = 3


class Condition(IntEnum):
    """What the lowest bit of the next address is."""

    NEVER = 0
    CARRY = 1
    ZERO = 2
    """The accumulator is zero."""
    BAD_CRC = 3
    NO_RECORD = 4
    """No other record may begin."""
    FULL = 5
    """The slot is in use."""
    LAST = 6
    """It is the slot's last word."""
    HEAD = 7
    """The word is the first of a beat of the bus."""


STROBES = ("begin_crc", "setting", "parameters", "of_fault", "store", "close", "fault", "home")
"""What an instruction does besides, a bit each: see `egress_hw.small_intake`."""

SPECIAL = ("enter", "number_low", "number_high", "place", "deal", "done")
"""And, with ``special`` instead of a register, by bits of the address."""


def instruction_layout() -> data.StructLayout:
    """Layout of an instruction.

    Members: ``next``, ``condition``; ``address`` of the register, or the reason of a fault;
    ``source``; ``lower`` (half of the word); ``logic`` (and, not plus); ``one`` or ``with_carry``
    is added; ``sets_carry``; ``keeps`` or ``clears`` the accumulator, which else is the result;
    ``writes`` the result into the register; ``take`` the word, both halves of it into the CRC, of
    the lower one what the second operand is; ``check``: that only. And `STROBES`, and
    ``special`` for those of `SPECIAL`.
    """
    return data.StructLayout(
        {
            "next": 9,
            "condition": 3,
            "address": 6,
            "source": 2,
            **dict.fromkeys(
                (
                    *("lower", "logic", "one", "with_carry", "sets_carry", "keeps", "clears"),
                    *("writes", "take", "check", "special", *STROBES),
                ),
                1,
            ),
        }
    )


@dataclass(slots=True)
class Step:
    """An instruction before it has its place: its fields, and labels of what may come next."""

    fields: dict[str, int]
    fresh: bool = False
    """The accumulator must be clear."""
    to: str | None = None
    """The next instruction where there is no condition or it does not hold; None: the one behind"""
    true: str | None = None


@dataclass(slots=True)
class Program:
    """Instructions as they are written down, with labels; and the registers they use.

    Members
    -------
    steps : list of Step
    labels : dict
        Places in ``steps``.
    registers : dict
        Initial values of registers, by name; constants are called by their value.
    """

    steps: list[Step] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str | int, int] = field(default_factory=dict)

    def register(self, name: str | int) -> int:
        """Address of a register or constant."""
        self.registers.setdefault(name, name & HALF if isinstance(name, int) else 0)
        return list(self.registers).index(name)

    def label(self, name: str) -> None:
        """Name the place of the next instruction."""
        assert name not in self.labels, name
        self.labels[name] = len(self.steps)

    def do(
        self,
        *strobes: str,
        source: Source = Source.NOTHING,
        register: str | int | None = None,
        reason: int = 0,
        acc: str = "clear",
        when: Condition = Condition.NEVER,
        true: str | None = None,
        to: str | None = None,
        fresh: bool = False,
        **flags: int,
    ) -> None:
        """Add an instruction; ``acc`` is what becomes of the accumulator: clear, keep or set."""
        address = reason if register is None else self.register(register)
        fields = {"source": source, "address": address, "condition": when, **flags}
        for strobe in strobes:
            if strobe in SPECIAL:
                assert register is None
                assert not reason
                fields["special"] = 1
                fields["address"] |= 1 << SPECIAL.index(strobe)
            else:
                fields[strobe] = 1
        fields |= {"keeps": int(acc == "keep"), "clears": int(acc == "clear")}
        self.steps.append(Step(fields, fresh, to, true))

    # The accumulator is clear before `load`, and by default after everything else.

    def load(self, what: str | int, *strobes: str, acc: str = "set", **options: Any) -> None:
        """Take over a register, a constant, or ``upper`` or ``lower`` of the word."""
        if what in ("upper", "lower"):
            self.word(what == "lower", *strobes, acc=acc, fresh=True, **options)
        else:
            self.do(*strobes, source=Source.REGISTER, register=what, acc=acc, fresh=True, **options)

    def word(self, lower: bool, *strobes: str, **options: Any) -> None:
        """Add a half of the word."""
        self.do(*strobes, source=Source.WORD, lower=int(lower), **options)

    def keep_in(self, name: str, *strobes: str, acc: str = "clear", **options: Any) -> None:
        """Write the accumulator into a register."""
        self.do(*strobes, register=name, writes=1, acc=acc, **options)

    def mask(self, what: int, **options: Any) -> None:
        """Keep bits of the accumulator only."""
        self.do(source=Source.REGISTER, register=what, logic=1, acc="set", **options)

    def add(self, what: str | int, **options: Any) -> None:
        """Add a register or constant, and set the carry."""
        options = {"acc": "set", "sets_carry": 1, **options}
        self.do(source=Source.REGISTER, register=what, **options)

    def less(self, what: str | int, **options: Any) -> None:
        """Subtract one; the carry is then 1 if it is not above the accumulator."""
        options = {"acc": "set", "sets_carry": 1, "one": 1, **options}
        self.do(source=Source.INVERSE, register=what, **options)

    def go(
        self, when: Condition, true: str, *strobes: str, to: str | None = None, **more: Any
    ) -> None:
        """Go to ``true`` if the condition holds, else to ``to`` or on."""
        self.do(*strobes, when=when, true=true, to=to, **more)

    def assemble(self) -> list[int]:
        """Give the words of the program's memory; the first instruction is the first word.

        Raises
        ------
        ValueError
            If a register is loaded where the accumulator may not be clear, or there is no room.
        """
        pairs: dict[tuple[int, int], int] = {}
        alone: dict[int, int] = {0: 0}
        places: list[int | None] = [0]  # steps, by address
        done = 0
        words = []

        def target(label: str | None, at: int) -> int:
            return at + 1 if label is None else self.labels[label]

        while done < len(places):
            at = places[done]
            done += 1
            if at is None:
                words.append(0)
                continue
            step = self.steps[at]
            fields = dict(step.fields)
            following = [target(step.to, at)]
            if fields["condition"]:
                following.append(target(step.true, at))
                pair = following[0], following[1]
                if pair not in pairs:
                    if len(places) % 2:
                        places.append(None)
                    pairs[pair] = len(places)
                    places += pair
                fields["next"] = pairs[pair]
            elif following[0] in alone:
                fields["next"] = alone[following[0]]
            else:
                fields["next"] = alone[following[0]] = len(places)
                places.append(following[0])
            if fields["condition"] == Condition.ZERO and fields["keeps"]:
                following.pop()  # zero is clear
            if any(self.steps[n].fresh for n in following) and not fields["clears"]:
                raise ValueError(f"instruction {at} leaves something for one that needs nothing")
            init: Any = fields
            words.append(instruction_layout().const(init).as_value().value)
        if len(words) > ROM_WORDS or len(self.registers) > RAM_WORDS:
            raise ValueError(f"{len(words)} instructions, {len(self.registers)} registers")
        return words

    # A sum with nothing sets the carry if a register is zero; with its inverses, several.

    def all_zero(self, *names: str) -> None:
        """Set the carry if registers are all zero; the accumulator is clear, and stays so."""
        self.less(names[0], acc="clear", fresh=True)
        for name in names[1:]:
            self.do(source=Source.INVERSE, register=name, with_carry=1, sets_carry=1)

    def less_one_if_no_carry(self, name: str, **options: Any) -> None:
        """Load a register, and subtract what a subtraction from the one below has borrowed."""
        self.load(name)
        options = {"acc": "set", **options}
        self.do(source=Source.INVERSE, register=0, with_carry=1, sets_carry=1, **options)

    def count(self, flag: str) -> None:
        """Add the carry to a flag; the accumulator is clear."""
        self.do(source=Source.REGISTER, register=flag, with_carry=1, writes=1, fresh=True)

    def count_unless_zero(self, flag: str) -> None:
        """Add one to a flag if the accumulator is not zero."""
        self.add(-1, acc="clear")
        self.count(flag)
