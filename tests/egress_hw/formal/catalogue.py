"""What a proof in CI is: a bench that holds, and benches of wrong components that do not."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from egress_hw.formal import Bench, Engine

MODULES = (
    "crc",
    "status",
    "collector",
    "sequencer",
    "intake",
    "streams",
    "reset",
    "lane",
    "lane_queue",
)
"""Those of this package that have proofs."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A property of a component.

    Members
    -------
    claim : str
    component : str
        With its parameters.
    engine : Engine
    bench : callable
    mutants : dict
        By what is wrong with the component: its bench, which must be refuted.
    refuter : Engine, optional
        What refutes the mutants, if not ``engine``.
    """

    claim: str
    component: str
    engine: Engine
    bench: Callable[[], Bench]
    mutants: dict[str, Callable[[], Bench]]
    refuter: Engine | None = None

    @property
    def name(self) -> str:
        """Short name."""
        return f"{self.component}: {self.claim}"


def mutated(
    module: str, changes: Mapping[str, str], given: Mapping[str, object] | None = None
) -> ModuleType:
    """Load a copy of a module with text of its source replaced, and maybe names of it ``given``.

    Every text must be there exactly once: if not, the module was changed, and so must the mutant.
    """
    spec = importlib.util.find_spec(module)
    assert spec
    assert spec.origin
    source = importlib.import_module(module).__loader__.get_source(module)  # pyright: ignore
    for old, new in changes.items():
        assert source.count(old) == 1, f"{module} has {source.count(old)} times {old!r}"
        source = source.replace(old, new)
    copy = ModuleType(f"{module}_mutated_{abs(hash(tuple(changes.items())))}")
    copy.__file__ = spec.origin
    sys.modules[copy.__name__] = copy  # for dataclasses
    exec(compile(source, spec.origin, "exec"), copy.__dict__)
    copy.__dict__.update(given or {})
    return copy
