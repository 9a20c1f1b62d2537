"""Verilog of a core that works out only what may have changed since the cycle before.

Most of what brings words to the lanes stands still in most cycles, and it is half of a core of one
lane. What comes of registers that did not change is what it was. So registers are put in groups,
each with a flag that tells whether one of them changed, and the logic that depends on nothing else
waits for the flags of the groups that it depends on.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

BUSY = ("lane_", "collector", "sequencer", "context", "m_axis_")
"""What the names of registers that change in most cycles begin with, or of what they are in."""

LEAST = 80
"""Less text than this is worked out sooner than a flag is looked at."""

_INPUTS = "inputs"
"""Group of a module's inputs."""

_NAME = r"(?:\\\S+ |[A-Za-z_]\w*)"
_RANGE = r"(?P<range>(?:signed )?(?:\[\d+:\d+\] )?)"
_CONSTANT = re.compile(r"\d+'[bdho][0-9a-fxz?_]+")
_DECLARED = re.compile(rf"^  (?:wire|reg) {_RANGE}(?P<name>{_NAME})", re.MULTILINE)
_INPUT = re.compile(rf"^  input {_RANGE}(?P<name>{_NAME});", re.MULTILINE)
_FUNCTION = re.compile(
    r"^  function (?:\[\d+:\d+\] )?(\w+);.*?^  endfunction\n", re.DOTALL | re.MULTILINE
)
_ASSIGN = re.compile(r"^  assign (?P<target>.*?) = (?P<value>.*);\n", re.MULTILINE)
_ALWAYS = re.compile(
    r"^  always @\(posedge clk\)(?: begin)?\n(?P<body>(?:    .*\n)+)(?:  end\n)?", re.MULTILINE
)
_REGISTER = re.compile(
    rf"    (?:if \((?P<when>.*?)\) )?(?P<target>{_NAME}) ?<= (?P<value>.*);\n"
    rf"(?:    else (?:if \((?P<or_when>.*?)\) )?(?P=target) ?<= (?P<or_value>.*);\n)?"
)
_WRITE = re.compile(rf"    (?:if \((?P<when>.*)\)\n      )?(?P<target>{_NAME}) ?\[.*\] <= .*\n")
_MEMORY = re.compile(rf"^  reg {_RANGE}(?P<name>{_NAME}) ?\[\d+:\d+\];", re.MULTILINE)


def skip_quiet(verilog: str, top: str) -> str:
    """Let a module work out only what may have changed.

    Parameters
    ----------
    verilog : str
        As yosys writes it without attributes, flattened, each net of one driver; ``top`` is in
        it, with the clock ``clk`` and other inputs that come from registers.
    top : str

    Returns
    -------
    verilog : str
        The same with another body of ``top``: in each cycle each register has what it had.

    Raises
    ------
    ValueError
        If there is something else in the module.
    """
    found = re.search(rf"^module {top}\b.*?^endmodule", verilog, re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"there is no module {top}")
    return verilog[: found.start()] + _Module(found[0]).text() + verilog[found.end() :]


@dataclass(frozen=True, slots=True)
class _Driven:
    """What drives a net or register: of a register, ``value`` is what it will be."""

    statement: str
    target: str
    value: str
    reads: frozenset[str]


@dataclass(slots=True)
class _Waiting:
    """What waits for the flags of the same groups."""

    nets: list[_Driven] = field(default_factory=list)
    registers: list[_Driven] = field(default_factory=list)


class _Module:
    def __init__(self, text: str) -> None:
        self._text = text
        self._functions = {match[1] for match in _FUNCTION.finditer(text)}
        plain = _FUNCTION.sub("", text)
        self._ranges = {m["name"].strip(): m["range"] for m in _DECLARED.finditer(plain)}
        self._inputs = sorted({m["name"] for m in _INPUT.finditer(plain)} - {"clk"})
        self._memories = {match["name"].strip() for match in _MEMORY.finditer(plain)}
        self._registers: dict[str, _Driven] = {}
        self._writes: dict[str, str] = {}
        """When a memory is written."""
        for match in _ALWAYS.finditer(plain):
            self._add(match[0], match["body"])
        self._nets = self._in_order(
            [
                _Driven(m[0], m["target"], m["value"], self._names(m["value"]))
                for m in _ASSIGN.finditer(plain)
            ]
        )
        # Sources are registers, memories and inputs; sets of them are numbers, of a bit for each.
        sources = [*self._registers, *self._writes, *self._inputs]
        self._needs = {name: 1 << number for number, name in enumerate(sources)}
        """Sources of each net, and of each source itself."""
        for net in self._nets:
            needs = self._needs_of(net.reads)
            self._needs |= dict.fromkeys(self._names(net.target), needs)
        self._busy, self._groups = self._divide()

    def text(self) -> str:
        """Return the module."""
        waiting: defaultdict[tuple[str, ...], _Waiting] = defaultdict(_Waiting)
        for net in self._nets:
            if groups := self._groups_of(self._needs_of(net.reads)):
                waiting[groups].nets.append(net)
        for name, register in self._registers.items():
            if not self._needs[name] & self._busy:
                groups = self._groups_of(self._needs_of(register.reads) | self._needs[name])
                waiting[groups].registers.append(register)
        for one in waiting.values():
            if sum(len(net.value) for net in one.nets) < LEAST:
                one.nets = []
        return self._write(waiting)

    def _add(self, statement: str, body: str) -> None:
        """Take a register or the writing of a memory."""
        match = _WRITE.fullmatch(body)
        if match and match["target"].strip() in self._memories:
            self._writes[match["target"].strip()] = match["when"] or "1'b1"
            return
        match = _REGISTER.fullmatch(body)
        if not match:
            raise ValueError(f"not as yosys writes a register:\n{statement}")
        value, held = f"({match['value']})", match["target"]
        if match["or_value"]:
            other = f"({match['or_value']})"
            held = f"({match['or_when']}) ? {other} : {held}" if match["or_when"] else other
        if match["when"]:
            value = f"({match['when']}) ? {value} : {held}"
        target = match["target"].strip()
        self._registers[target] = _Driven(statement, target, value, self._names(value))

    def _names(self, text: str) -> frozenset[str]:
        found = re.findall(_NAME, _CONSTANT.sub("", text))
        return frozenset(name.strip() for name in found) - self._functions

    def _in_order(self, nets: list[_Driven]) -> list[_Driven]:
        """Nets, each behind those that it reads."""
        driver = {
            name: number for number, net in enumerate(nets) for name in self._names(net.target)
        }
        graph = {
            number: {driver[name] for name in net.reads if name in driver}
            for number, net in enumerate(nets)
        }
        return [nets[number] for number in TopologicalSorter(graph).static_order()]

    def _needs_of(self, names: Iterable[str]) -> int:
        needs = 0
        for name in names:
            needs |= self._needs.get(name, 0)
        return needs

    def _divide(self) -> tuple[int, dict[str, int]]:
        """Return the busy sources, and those of each group, by the part of the core they are in."""
        busy, groups = 0, defaultdict[str, int](int)
        for name in (*self._registers, *self._writes):
            path, _, last = name.rpartition(".")
            if any(part.startswith(BUSY) for part in (*path.split("."), last)):
                busy |= self._needs[name]
            else:
                groups[path] |= self._needs[name]
        groups[_INPUTS] = self._needs_of(self._inputs)
        # So is what is no more than something busy a cycle later.
        before = None
        while busy != before:
            before = busy
            for name, register in self._registers.items():
                needs = self._needs_of(register.reads)
                if needs & before and not needs & self._needs[name]:
                    busy |= self._needs[name]
        return busy, {group: needs & ~busy for group, needs in sorted(groups.items())}

    def _groups_of(self, needs: int) -> tuple[str, ...]:
        """Return the groups of some sources; none if one is busy."""
        if needs & self._busy:
            return ()
        return tuple(group for group, members in self._groups.items() if needs & members)

    def _write(self, waiting: Mapping[tuple[str, ...], _Waiting]) -> str:
        flags = {group: f"changed_{number}" for number, group in enumerate(self._groups)}
        moved = " | ".join(f"({name} != {name}_before)" for name in self._inputs)
        lines = [
            *(f"reg {self._ranges[name]}{name}_before;" for name in self._inputs),
            *(f"always @(posedge clk) {name}_before <= {name};" for name in self._inputs),
            *(
                f"wire {flag} = {moved};" if group == _INPUTS else f"reg {flag} = 1'b1;"
                for group, flag in flags.items()
            ),
            f"wire [{len(flags) - 1}:0] changed = {{{', '.join(reversed(flags.values()))}}};",
        ]
        replaced: dict[str, str] = {}
        for groups, one in waiting.items():
            if one.nets:
                lines.append(f"always @* if ({self._changed(groups)}) begin")
                lines += [f"  {net.target} = {net.value};" for net in one.nets]
                lines.append("end")
            for net in one.nets:
                replaced[net.statement] = ""
                for name in self._names(net.target):
                    declared = f"{self._ranges[name]}{_spelled(name)};\n"
                    replaced[f"  wire {declared}"] = f"  reg {declared}"
        for group, members in self._groups.items():
            if group == _INPUTS:
                continue
            lines += self._write_registers(flags[group], members, waiting)
        replaced |= {
            register.statement: "" for one in waiting.values() for register in one.registers
        }
        text = re.sub(
            r"^  (?:wire .*;\n|assign .*;\n|always .*\n(?:    .*\n)+(?:  end\n)?)",
            lambda match: replaced.get(match[0], match[0]),
            self._text,
            flags=re.MULTILINE,
        )
        return text.removesuffix("endmodule") + "\n".join(lines) + "\nendmodule"

    def _write_registers(
        self, flag: str, members: int, waiting: Mapping[tuple[str, ...], _Waiting]
    ) -> list[str]:
        """Write the registers of a group, and when its flag is set."""
        any_changed = f"any_{flag}"
        lines = [f"reg {any_changed};"]
        body = [f"{any_changed} = 1'b0;"]
        for memory, when in self._writes.items():
            if self._needs[memory] & members:
                body.append(f"{any_changed} = {any_changed} | ({when});")
        awake: list[_Driven] = []
        asleep: list[_Driven] = []
        awaited: set[str] = set()
        for groups, one in waiting.items():
            mine = [
                register for register in one.registers if self._needs[register.target] & members
            ]
            (asleep if groups else awake).extend(mine)
            awaited.update(groups if mine else ())
        for kind, registers in (("awake", awake), ("asleep", asleep)):
            if not registers:
                continue
            body.append("begin" if registers is awake else f"if ({self._changed(awaited)}) begin")
            for number, register in enumerate(registers):
                following = f"{kind}_{number}_{flag}"
                target = _spelled(register.target)
                lines.append(f"reg {self._ranges[register.target]}{following};")
                body += [
                    f"  {following} = {register.value};",
                    f"  {any_changed} = {any_changed} | ({following} != {target});",
                    f"  {target} <= {following};",
                ]
            body.append("end")
        body.append(f"{flag} <= {any_changed};")
        return [
            *lines,
            "always @(posedge clk) begin",
            *(f"  {line}" for line in body),
            "end",
        ]

    def _changed(self, groups: Iterable[str]) -> str:
        """Whether a source of some groups changed."""
        mask = sum(1 << list(self._groups).index(group) for group in groups)
        return f"|(changed & {len(self._groups)}'d{mask})"


def _spelled(name: str) -> str:
    """As Verilog has it: a space ends a name with signs in it."""
    return f"{name} " if name.startswith("\\") else name
