"""Run the tests on mutated hardware: ``python -m tests.mutations [MODULE ...] [--docs FILE]``.

Of each mutation the tests of its module run until one fails, after they passed without it. Ends
with 1 if one is not caught. In the page, rows of modules that were not run stay as they are.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutations.mutations import MUTATIONS, TESTS, Mutation, mutated

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "hw" / "egress_hw"
TIMEOUT_S = 400
BEGIN, END = "<!-- tests.mutations: begin -->", "<!-- tests.mutations: end -->"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What caught a mutation, empty if nothing did, and after how many seconds."""

    mutation: Mutation
    caught_by: str
    seconds: float

    def row(self) -> str:
        change = self.mutation
        caught = self.caught_by or "**not caught**"
        return f"| {change.file} | {change.note} | {caught} | {self.seconds:.0f} |"


def run(tests: Sequence[str], mutation: Mutation | None) -> str:
    """Run tests on a copy of the package, changed or not; return the first that fails."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PACKAGE.name
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutation:
            file = copy / f"{mutation.file}.py"
            file.write_text(mutated(mutation, file.read_text()))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "-p", "no:cacheprovider"]
        command += ["-p", "no:xdist", "-p", "tests.mutations.quick", "--tb=no", *tests]
        environment = os.environ | {"PYTHONPATH": folder}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True,
                timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{mutation}: no test failed in {TIMEOUT_S} s") from None
    if done.returncode == 0:
        return ""
    found = re.search(r"^FAILED (?:\S*/)?(\S+)::(\w+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or not found:
        raise RuntimeError(f"{mutation}: the tests did not run:\n{done.stdout}{done.stderr}")
    return f"{found[1]}: {found[2]}"


@cache
def check(tests: tuple[str, ...]) -> None:
    """See that tests pass if nothing is changed, without which they say nothing."""
    if failed := run(tests, None):
        raise RuntimeError(f"with no change there fails {failed}")


def judge(mutation: Mutation) -> Verdict:
    tests = mutation.tests or TESTS[mutation.file]
    check(tests)
    begun = time.monotonic()
    failed = run(tests, mutation)
    return Verdict(mutation, failed, time.monotonic() - begun)


def with_rows(page: str, verdicts: Sequence[Verdict]) -> str:
    """Put verdicts into the table of a page; what it has of other mutations stays."""
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    rows = {tuple(line.split(" | ")[:2]): line for line in old.splitlines()}
    rows |= {tuple(v.row().split(" | ")[:2]): v.row() for v in verdicts}
    wanted = [(f"| {mutation.file}", mutation.note) for mutation in MUTATIONS]
    lines = ["| module | what is wrong | caught by | seconds |", "|---|---|---|---|"]
    lines += [rows[key] for key in wanted if key in rows]
    return "\n".join([f"{before}{BEGIN}", *lines, f"{END}{after}"])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("modules", nargs="*", help="of egress_hw; default all that have mutations")
    parser.add_argument("--docs", type=Path, help="page to put the table into")
    options = parser.parse_args()
    verdicts = []
    for mutation in MUTATIONS:
        if not options.modules or mutation.file in options.modules:
            verdicts.append(judge(mutation))
            print(verdicts[-1].row(), flush=True)
    missed = [verdict for verdict in verdicts if not verdict.caught_by]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} caught")
    if options.docs:
        options.docs.write_text(with_rows(options.docs.read_text(), verdicts))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
