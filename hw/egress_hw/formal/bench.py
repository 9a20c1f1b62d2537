"""Bench of a proof: components whose inputs are free, assumptions about these, and claims."""

from collections.abc import Iterator, Mapping
from typing import Any

from amaranth.hdl import Cat, ClockDomain, Elaboratable, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

Leaf = tuple[str, Any]


class Bench(Elaboratable):
    """What is to be proved: for all values of the free inputs in all cycles, from power-up on.

    The engines search for a cycle in which a claim does not hold although every assumption has held
    up to then and in that cycle.

    Members
    -------
    m : Module
        For components and for logic of the bench, in the domain ``sync``, which has no reset. (Use
        `ResetInserter` for a component that is to be reset.)
    clk : Signal
    inputs : dict of str to Signal
        The free inputs, by name.
    watched : dict of str to Value
        What traces show besides.
    """

    def __init__(self) -> None:
        self.m = Module()
        self.inputs: dict[str, Signal] = {}
        self.watched: dict[str, Any] = {}
        self._assumptions: list[Value] = []
        self._claims: dict[str, Value] = {}
        domain: Any = ClockDomain("sync", reset_less=True)
        self._domain = domain
        self.clk: Signal = domain.clk
        self.bad = Signal()
        first = Signal(init=1)
        self.m.d.sync += first.eq(0)
        self.first = first

    def free(self, name: str, shape: Any = 1) -> Any:
        """Return an input that may have any value in any cycle."""
        if name in self.inputs:
            raise ValueError(f"there is an input {name!r} already")
        # A plain signal: its name and bits are those of the netlist.
        plain = Signal(Shape.cast(shape).width, name=name)
        self.inputs[name] = plain
        if isinstance(shape, int):
            return plain
        view = Signal(shape, name=f"{name}_view")
        self.m.d.comb += Value.cast(view).eq(plain)
        return view

    def constant(self, name: str, shape: Any = 1) -> Any:
        """Return something that may have any value, the same in all cycles."""
        plain = Value.cast(self.free(f"{name}_given", shape))
        kept = Signal(len(plain), name=f"{name}_kept")
        view = Signal(shape, name=name)
        self.m.d.sync += kept.eq(Value.cast(view))
        self.m.d.comb += Value.cast(view).eq(Mux(self.first, plain, kept))
        self.watched.setdefault(name, view)
        return view

    def add(self, name: str, dut: Any, given: Mapping[str, Any] | None = None) -> Any:
        """Add a component and drive its inputs: with what is ``given``, else freely.

        Parameters
        ----------
        name : str
        dut : Component
        given : mapping of str to Value
            By the input's name, dotted: ``o.ready``. The inputs that others drive are given as
            None.

        Returns
        -------
        Component
            ``dut``.
        """
        self.m.submodules[name] = dut
        given = dict(given or {})
        for path, member in leaves(dut):
            if path in given:
                value = given.pop(path)
            else:
                value = self.free(f"{name}.{path}", member.shape())
            if value is not None:
                self.m.d.comb += Value.cast(member).eq(Value.cast(value))
        if given:
            raise ValueError(f"{name} has no inputs {', '.join(given)}")
        return dut

    def assume(self, condition: Any) -> None:
        """Look only at traces in which ``condition`` holds in all cycles."""
        self._assumptions.append(Value.cast(condition).bool())

    def claim(self, name: str, condition: Any) -> None:
        """Claim that ``condition`` holds in all cycles."""
        if name in self._claims:
            raise ValueError(f"there is a claim {name!r} already")
        self._claims[name] = Value.cast(condition).bool()

    def watch(self, name: str, value: Any) -> None:
        """Show ``value`` in traces."""
        self.watched[name] = value

    def before(self, value: Any, name: str) -> Any:
        """Return what ``value`` was a cycle before; 0 in the first."""
        copy = Signal(Value.cast(value).shape(), name=name)
        self.m.d.sync += copy.eq(Value.cast(value))
        return copy

    def stream_rules(self, name: str, port: Any) -> None:
        """Claim of an output that valid stays until ready, and its payload the same."""
        self._rules(name, port, self.claim)

    def obey_rules(self, name: str, port: Any) -> None:
        """Assume the same of an input."""
        self._rules(name, port, lambda _, condition: self.assume(condition))

    def _rules(self, name: str, port: Any, demand: Any) -> None:
        waits = self.before(port.valid & ~port.ready, f"{name}_waits")
        held = self.before(port.payload, f"{name}_held")
        demand(f"{name}: valid stays until ready", ~waits | port.valid)
        same = Value.cast(port.payload) == held
        demand(f"{name}: payload stays until ready", ~waits | same)

    @property
    def claims(self) -> dict[str, Value]:
        """The claims, by name."""
        return dict(self._claims)

    def elaborate(self, platform):
        if not self._claims:
            raise ValueError("there is nothing to prove")
        m = Module()
        m.domains += self._domain
        m.submodules.bench = self.m
        held, so_far = Signal(init=1), Signal()
        assumed = Cat(*self._assumptions, 1).all()
        m.d.comb += so_far.eq(held & assumed)
        m.d.sync += held.eq(so_far)
        m.d.comb += self.bad.eq(so_far & ~Cat(self._claims.values()).all())
        return m


def leaves(dut: wiring.Component) -> Iterator[Leaf]:
    """Give each signal that is an input of a component, with its dotted name."""
    for path, member, value in dut.signature.flatten(dut):
        if member.flow == In:
            yield ".".join(map(str, path)), value
