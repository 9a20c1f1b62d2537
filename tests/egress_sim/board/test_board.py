import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from egress.board.cargo import Cargo
from egress.board.connection import Connection
from egress.board.errors import BoardError, PortGoneError, SessionLostError
from egress.board.protocol import Begin
from egress.board.verify import verify
from egress.cli import main
from egress.errors import ToolError
from egress_sim.board import campaign
from egress_sim.board.board import SimulatedBoard
from egress_sim.board.build import board_shape, build
from egress_sim.board.campaign import ATTEMPTS, KINDS, draw_faults, inject

MODEL = Path(__file__).parents[3] / "bitstreams/golden/model.egs"
STREAM = MODEL.read_bytes()
RECORDS = [STREAM[a:b] for a, b in pairwise(Cargo.of(STREAM).starts)]
# As the command chooses it for this file: one simulator serves all tests.
SHAPE = board_shape(level_bits=16, buffer=9)

pytestmark = [pytest.mark.cocotb, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def harness():
    return build(SHAPE)


def run(capsys, *arguments, code=0):
    assert main(["board", *map(str, arguments), "--simulate", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_trained_model_is_verified(capsys):
    found = run(capsys, "verify", MODEL)
    assert found["verified"] is True
    assert [tensor["report"]["weights"] for tensor in found["tensors"]] == [7000, 11, 12000, 900]
    assert found["board"] == "simulated"


def test_a_model_is_verified_from_flash_that_has_to_be_woken(capsys):
    found = run(capsys, "verify", MODEL, "--flash", "0x12345")
    assert found["verified"] is True


def test_a_model_is_loaded(capsys):
    found = run(capsys, "load", MODEL)
    assert found["complete"] is True
    assert sum(report["weights"] for report in found["reports"]) == 19_911
    for report in found["reports"]:
        # The line is far slower than the core.
        assert report["starved"] > report["working"]


def test_a_tensor_is_read_back(capsys, tmp_path):
    out = tmp_path / "weights.npy"
    found = run(capsys, "read", MODEL, "--tensor", "3", "-o", out)
    assert (found["weights"], found["differ"], found["lost"]) == (900, 0, 0)
    levels = np.load(MODEL.with_suffix(".npy"))[-900:]
    weights = np.load(out)
    # bfloat16 has eight bits of precision.
    ratio = weights[levels != 0] / levels[levels != 0]
    assert np.allclose(ratio, ratio[0], rtol=2**-8)
    assert not weights[levels == 0].any()


def test_a_read_back_is_longer_than_the_positions_that_a_board_tells_apart(capsys):
    found = run(capsys, "read", MODEL, "--tensor", "2")
    assert (found["weights"], found["differ"], found["lost"]) == (12_000, 0, 0)


def test_the_core_is_benched_at_full_speed(capsys):
    found = run(capsys, "bench", MODEL)
    assert found["equal"] is True
    assert found["weights_per_second"] == found["weights_per_cycle"] * SHAPE.clock_hz
    assert 0.5 < found["weights_per_cycle"] <= 2
    # Nothing had to be waited for: all words were there before the core began.
    assert all(tensor["stalled"] == 0 for tensor in found["tensors"])


def test_a_damaged_segment_is_told_and_not_verified(capsys, tmp_path):
    damaged = bytearray(STREAM)
    damaged[400] ^= 1
    (tmp_path / "damaged.egs").write_bytes(damaged)
    found = run(capsys, "verify", tmp_path / "damaged.egs", code=2)
    assert found["verified"] is False
    assert found["error"].startswith("bad segment CRC, segment ")
    assert found["error"].endswith("of record 0")
    assert [tensor["verdict"] for tensor in found["tensors"]] == ["damaged", *3 * ["equal"]]
    found = run(capsys, "read", tmp_path / "damaged.egs", "--tensor", "0", code=1)
    assert found["lost"] > 0
    assert found["differ"] == 0


def test_hostile_files_are_never_verified_and_leave_the_board_well(harness):
    seen = set()
    with (
        SimulatedBoard(harness, SHAPE) as board,
        Connection(board.port, replace(board.timing, settle_s=0.1, stall_s=0.5)) as connection,
    ):
        for case in json.loads((MODEL.parents[1] / "hostile/index.json").read_text()):
            # The board refuses one for each reason, and not what hardware does not look at.
            if case["hardware"] in seen and case["file"] != "words_more.egs":
                continue
            seen.update({case["hardware"]} - {None})
            found = verify(
                connection, (MODEL.parents[1] / "hostile" / case["file"]).read_bytes(), []
            )
            assert not found.verified, case
            assert found.refusals, case
            assert "differs" not in [tensor.verdict for tensor in found.tensors], case
            assert (found.error is None) == (case["hardware"] is None), case
        assert verify(connection, STREAM, []).verified


def test_a_flash_that_holds_something_else_is_not_verified(harness):
    with (
        SimulatedBoard(harness, SHAPE, flash=STREAM[:-4] + b"\0\0\0\1") as board,
        Connection(board.port, board.timing) as connection,
    ):
        assert not verify(connection, STREAM, [], flash=0).verified


@pytest.mark.parametrize(
    ("fault", "member"),
    [
        ("noise=1e-4", "repeated"),
        ("lose=1e-3", "repeated"),
        ("unplug@2000=0.5", "returns"),
        ("reset@2000", "sessions"),
        ("power@2000=0.5", "returns"),
    ],
)
def test_a_fault_is_survived_and_counted(capsys, fault, member):
    found = run(capsys, "verify", MODEL, "--fault", fault)
    assert found["verified"] is True
    assert found[member] >= 1 + (member == "sessions")


def test_a_read_back_survives_faults(capsys):
    faults = ["noise=1e-4", "unplug@3000=0.2", "reset@5000"]
    arguments = [word for fault in faults for word in ("--fault", fault)]
    found = run(capsys, "read", MODEL, "--tensor", "0", *arguments)
    assert (found["weights"], found["differ"], found["lost"]) == (7000, 0, 0)


def test_the_design_of_a_board_is_simulated_with_its_own_parameters(capsys):
    found = run(capsys, "verify", MODEL, "--board", "icebreaker")
    assert (found["verified"], found["board"]) == (True, "icebreaker")


def test_a_board_that_is_not_known_is_told(capsys):
    assert main(["board", "verify", str(MODEL), "--simulate", "--board", "breadboard"]) == 2
    assert "board must be one of" in capsys.readouterr().err


def test_a_fault_that_is_none_is_refused(capsys):
    assert main(["board", "verify", str(MODEL), "--simulate", "--fault", "rain"]) == 2
    assert "unknown fault rain" in capsys.readouterr().err


def poll_on(client):
    for _ in range(10_000):
        client.poll()


def test_a_cable_that_is_pulled_and_a_reset_are_noticed(harness):
    with (
        SimulatedBoard(harness, SHAPE) as board,
        Connection(board.port, board.timing) as connection,
    ):
        connection.client.begin(9, Begin(0), len(STREAM))
        board.tell("unplug@now=1")
        with pytest.raises(PortGoneError):
            poll_on(connection.client)
        connection.reopen()
        assert connection.client.poll().next == 0
        board.tell("reset@now")
        with pytest.raises(SessionLostError):
            poll_on(connection.client)
        happened = board.close()
    assert happened.events == 2
    assert happened.from_board > 0


def test_a_simulation_that_died_is_told(harness):
    with SimulatedBoard(harness, SHAPE) as board:
        board._process.kill()
        board._process.wait()
        with pytest.raises(ToolError, match="the simulated board died"):
            board.seconds()
        with pytest.raises(ToolError, match="the simulated board died"):
            board.close()


@pytest.mark.parametrize("action", ATTEMPTS)
def test_random_faults_are_survived_or_told_by_every_command(harness, action):
    # The smallest of the records has more weights than the board keeps of a read-back.
    stream = RECORDS[3] if action == "read" else STREAM
    count = 2 * len(KINDS) if action == "verify" else len(KINDS)
    report = inject(harness, SHAPE, stream, count=count, action=action, seed=5)
    assert report.wrong == []
    outcomes = {kind: set() for kind in KINDS}
    for found in report.runs:
        outcomes[found.kind].add(found.outcome)
    # A wire with a bit in twenty wrong cannot be used, and a damaged stream not be good.
    assert outcomes.pop("hopeless") == {"reported"}
    assert outcomes.pop("damaged") <= {"refused", "reported"}
    assert set().union(*outcomes.values()) <= {"right", "reported"}
    for kind in ("reset", "unplugged", "power"):
        assert outcomes[kind] == {"right"}


def test_the_command_runs_campaigns(capsys):
    found = run(capsys, "verify", MODEL, "--faults", "2")
    assert (found["ok"], [run["kind"] for run in found["runs"]]) == (True, ["noise", "lost bytes"])
    arguments = ["board", "read", str(MODEL), "--tensor", "1", "--simulate", "--faults", "1"]
    assert main(arguments) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:6] == ["noise", "1", "1", "0", "0", "0"]


@pytest.mark.parametrize(
    ("faults", "result"), [([], []), ([], campaign.DIFFERS), (["damaged@9999"], "as before")]
)
def test_a_wrong_result_is_found(harness, monkeypatch, faults, result):
    results = iter([["due"], ["due"] if result == "as before" else result])
    monkeypatch.setitem(ATTEMPTS, "verify", lambda connection, stream: next(results))
    monkeypatch.setattr(campaign, "draw_faults", lambda *_: faults)
    report = inject(harness, SHAPE, STREAM, count=1)
    assert not report.ok
    assert report.wrong[0].faults == tuple(faults)


def test_a_command_that_fails_without_faults_is_told(harness, monkeypatch):
    monkeypatch.setitem(ATTEMPTS, "load", lambda connection, stream: None)
    with pytest.raises(BoardError, match="load fails without faults"):
        inject(harness, SHAPE, STREAM, count=1, action="load")


@pytest.mark.parametrize("kind", KINDS)
def test_faults_of_a_kind_are_drawn_alike_from_a_seed(kind):
    draws = [
        draw_faults(kind, 4592, 6000, campaign.Random(f"{seed} 0")) for seed in (1, 1, 2, 3, 4)
    ]
    assert draws[0] == draws[1]
    assert any(other != draws[0] for other in draws[2:])
