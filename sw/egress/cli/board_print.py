"""What the board's commands print."""

from collections import Counter
from typing import Any

from egress.cli.common import table
from egress.errors import Reason


def print_verification(found: Any, connection: Any) -> None:
    """Print a `egress.board.verify.Verification`."""
    rows = []
    for tensor in found.tensors:
        due, report = tensor.due, tensor.report
        rows.append(
            [
                tensor.name,
                f"{report.weights:,}" if report else "-",
                f"{report.lost:,}" if report else "-",
                f"{report.checksum:08x}" if report else "-",
                f"{due.checksum:08x}" if due else "-",
                tensor.verdict,
            ]
        )
    table(["tensor", "weights", "lost", "board", "software", "result"], rows)
    if found.error:
        print(f"the board reports: {found.error}")
    for refusal in found.refusals:
        print(f"software refuses: {refusal}")
    if not found.outcome.complete and not found.refusals:
        print("the board did not take or report the whole stream")
    _print_link(found.outcome, found.bytes, found.repeated)
    what = connection.board
    if found.verified:
        print(f"verified: {found.weights:,} weights of {len(found.tensors)} tensors on {what}")
    else:
        equal = sum(tensor.verdict == "equal" for tensor in found.tensors)
        print(f"NOT verified: {equal} of {len(found.tensors)} tensors are equal on {what}")


def _print_link(outcome: Any, size: int, repeated: int) -> None:
    text = f"{size:,} bytes in {outcome.seconds:.2f} s"
    if outcome.seconds:
        text += f", {size / outcome.seconds / 1e3:.1f} kB/s"
    text += f"; {repeated} requests repeated"
    if outcome.returns:
        text += f", the board was away {outcome.returns} times"
    if outcome.sessions > 1:
        text += f", and begun anew {outcome.sessions - 1} times"
    print(text)


def print_load(outcome: Any, names: list[str], size: int) -> None:
    """Print a `egress.board.transfer.Outcome`."""
    rows = [
        [
            names[number] if number < len(names) else f"record {number}",
            f"{report.weights:,}",
            f"{report.lost:,}",
            f"{report.checksum:08x}",
            f"{report.working:,}",
            f"{report.starved:,}",
            f"{report.stalled:,}",
        ]
        for number, report in enumerate(outcome.reports)
    ]
    table(["tensor", "weights", "lost", "checksum", "working", "starved", "stalled"], rows)
    if outcome.error:
        reason = Reason(outcome.error.reason).text
        print(f"the board reports: {reason}, segment {outcome.error.segment}")
    if not outcome.complete:
        print("the board did not take or report the whole stream")
    print(f"{size:,} bytes in {outcome.seconds:.2f} s")


def print_bench(found: Any, connection: Any) -> None:
    """Print a `egress.board.bench.Bench`."""
    rows = [
        [
            tensor.name,
            f"{tensor.weights:,}",
            f"{tensor.of_weights:,}",
            f"{tensor.working:,}",
            f"{tensor.weights_per_cycle:.3f}",
            f"{tensor.weights_per_cycle * found.clock_hz / 1e6:.2f}",
            "equal" if tensor.equal else "DIFFERS",
        ]
        for tensor in found.tensors
    ]
    columns = ["tensor", "weights", "of", "cycles", "weights a cycle", "Mweights/s", "result"]
    table(columns, rows)
    board = connection.board
    print(
        f"{board.board}, {board.core}: {found.weights_per_cycle:.3f} weights a cycle, "
        f"{found.rate / 1e6:.2f} million a second at {found.clock_hz / 1e6:g} MHz"
    )
    print(
        f"software here: {found.software_rate / 1e6:.2f} million a second; the serial line brings "
        f"{found.link_rate / 1e6:.3f} million, at {found.bits_per_weight:.2f} bits a weight"
    )


def print_campaign(campaign: Any) -> None:
    """Print a `egress_sim.board.campaign.Campaign`: outcomes by kind, and all that is wrong."""
    from egress_sim.board.campaign import KINDS, OUTCOMES

    rows = []
    for kind in KINDS:
        runs = [run for run in campaign.runs if run.kind == kind]
        counts = Counter(run.outcome for run in runs)
        rows.append(
            [
                kind,
                f"{len(runs)}",
                *(f"{counts[outcome]}" for outcome in OUTCOMES),
                f"{sum(run.glitches for run in runs):,}",
                f"{sum(run.lost for run in runs):,}",
                f"{sum(run.events for run in runs):,}",
                f"{sum(run.repeated for run in runs):,}",
            ]
        )
    table(["faults", "runs", *OUTCOMES, "bits", "bytes", "events", "repeated requests"], rows)
    for run in campaign.wrong:
        print(f"WRONG: {' '.join(run.faults)}, seed {run.seed}: {run.text}")
