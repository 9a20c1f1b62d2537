"""Formal proofs of components: claims, the engines that prove or refute them, and traces."""

from egress_hw.formal.bench import Bench
from egress_hw.formal.prove import Bounded, Engine, RefutedError, Unbounded, check, independent

__all__ = ["Bench", "Bounded", "Engine", "RefutedError", "Unbounded", "check", "independent"]
