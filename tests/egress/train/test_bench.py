import json
from dataclasses import replace

import pytest
import torch

import egress.bench.train as bench
from egress.bench.train import AUTHORS, PRINTED, RULES, SHORT, AuthorsLoop, bench_train
from egress.cli import main
from egress.train import BackSlash

TINY = replace(SHORT, vocabulary=50, width=8, layers=1, heads=2, batch=2, tokens=4)


@pytest.fixture(scope="module")
def result():
    return bench_train(TINY)


def test_every_rule_and_the_authors_loop_have_a_row_of_a_plain_steps_share(result):
    assert [row.rule for row in result.rows] == [AUTHORS, *RULES, PRINTED]
    for row in result.rows:
        assert 0 <= row.low_ms <= row.added_ms <= row.high_ms
        assert row.share == row.added_ms / result.step_ms


def test_the_model_has_the_weights_of_minilm():
    plan = SHORT
    with torch.device("meta"):
        model = bench.Encoder(plan)
    # all-MiniLM-L6-v2 has 22.7 million; token types, a norm and a pooler are not in ours.
    assert sum(theta.numel() for theta in model.parameters()) == pytest.approx(22.6e6, rel=0.01)


def test_the_authors_loop_is_backslashs_rule():
    torch.manual_seed(0)
    theta, other = (torch.nn.Parameter(torch.zeros(40, 50)) for _ in range(2))
    with torch.no_grad():
        theta.normal_(std=0.05)
        other.copy_(theta)
    start = theta.detach().clone()
    AuthorsLoop([theta], lmbda=1.0).step()
    BackSlash([other], lmbda=1.0, every=1).step()
    # Their table of shapes has steps of 0.01, of about 2.
    torch.testing.assert_close(start - theta, start - other, rtol=5e-3, atol=1e-7)


def test_the_command_writes_what_was_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "SHORT", TINY)
    assert main(["bench", "train", "--short", "--rounds", "1"]) == 0
    assert AUTHORS in capsys.readouterr().out
    file = tmp_path / "train.json"
    assert main(["bench", "train", "--short", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["rule"] for row in rows] == [AUTHORS, *RULES, PRINTED]
