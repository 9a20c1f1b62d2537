"""Run proofs by name and print their table."""

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from egress.errors import ToolError
from egress_hw.formal import RefutedError, Unbounded, check
from tests.egress_hw.formal.catalogue import MODULES

for name in sys.argv[1:] or MODULES:
    for proof in import_module(f"tests.egress_hw.formal.{name}").PROOFS:
        engine = proof.engine
        how = "induction" if isinstance(engine, Unbounded) else f"bounded, {engine.cycles} cycles"
        with tempfile.TemporaryDirectory(dir=".") as work:
            try:
                done = check(proof.bench(), engine, Path(work))
                text = f"{done.seconds:.1f} | {done.latches} | {done.gates}"
            except (RefutedError, ToolError) as error:
                text = str(error)
            print(f"| {proof.claim} | {proof.component} | {how} | {text} |", flush=True)
            for what, mutant in proof.mutants.items():
                try:
                    print(
                        f"  NOT REFUTED: {what}",
                        check(mutant(), proof.refuter or engine, Path(work)),
                    )
                except RefutedError as error:
                    print(f"  refuted: {what}: {str(error).splitlines()[1]}", flush=True)
                except ToolError as error:
                    print(f"  GAVE UP: {what}: {error}")
