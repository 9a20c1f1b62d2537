"""Proofs of components, and of each that it can fail. `docs/proofs.md` has their table."""

from importlib import import_module

import pytest

from egress.errors import ToolError
from egress_hw import collector as collector_module
from egress_hw import core, intake
from egress_hw.formal import Bench, Bounded, RefutedError, Unbounded, check, independent

from .catalogue import MODULES, mutated
from .codes import check_codes

pytestmark = pytest.mark.formal

PROOFS = [proof for name in MODULES for proof in import_module(f".{name}", __package__).PROOFS]
MUTANTS = [(proof, name) for proof in PROOFS for name in proof.mutants]


def label(value):
    return str(getattr(value, "name", value))


@pytest.mark.parametrize("proof", PROOFS, ids=label)
def test_it_is_proved(proof, tmp_path):
    check(proof.bench(), proof.engine, tmp_path)


@pytest.mark.parametrize(("proof", "mutant"), MUTANTS, ids=label)
def test_a_wrong_component_is_refuted(proof, mutant, tmp_path):
    with pytest.raises(RefutedError) as refuted:
        check(proof.mutants[mutant](), proof.refuter or proof.engine, tmp_path)
    assert refuted.value.trace.broken
    assert (tmp_path / "trace.vcd").exists()


INDEPENDENT = [
    (lambda: core.Core(2, "level", 8, 5, 64, 2), ("o.valid", "i.ready"), ("o.ready",)),
    *[
        (lambda shape=shape: intake.Intake(*shape), ("record.valid", "groups.valid", "i.ready"),
         ("record.ready", "groups.ready"))
        for shape in ((1, 2, 5, 8, 32), (2, 2, 5, 8, 64))
    ],
]  # fmt: skip


@pytest.mark.parametrize(("make", "outputs", "inputs"), INDEPENDENT)
def test_a_handshake_does_not_wait_for_the_other_in_the_same_cycle(make, outputs, inputs, tmp_path):
    independent(make(), outputs, inputs, tmp_path)


def test_a_path_in_the_same_cycle_is_found(tmp_path):
    changes = {"valid.eq(inside[-1][0])": "valid.eq(inside[-1][0] & self.o.ready)"}
    dut = mutated("egress_hw.collector", changes).Collector(1, "level", 8)
    with pytest.raises(ToolError, match=r"o\.valid depends on .*o__ready"):
        independent(dut, ["o.valid"], ["o.ready"], tmp_path)
    independent(collector_module.Collector(1, "level", 8), ["o.valid"], ["o.ready"], tmp_path)


def test_of_every_setting_codewords_that_may_be_have_the_definitions_length_and_value(tmp_path):
    right, text = check_codes(10, tmp_path)
    assert right, text


def test_a_wrong_entry_of_the_class_table_is_found(tmp_path):
    wrong = mutated("egress_hw.class_table", {"Mux(joint, 4, 2)": "Mux(joint, 4, 3)"})
    right, text = check_codes(10, tmp_path, wrong)
    assert not right
    assert "second code, class 0: value" in text


def test_a_trace_tells_the_values_of_each_cycle(tmp_path):
    bench = Bench()
    twice = bench.before(bench.before(bench.free("a"), "once"), "twice")
    bench.claim("no two ones", ~(twice & bench.inputs["a"]))
    check(bench, Bounded(2), tmp_path / "short")
    for engine in (Bounded(3), Unbounded()):
        with pytest.raises(RefutedError, match="broken in cycle 2: no two ones") as refuted:
            check(bench, engine, tmp_path / "long")
        values = refuted.value.trace.rows["a"]
        assert (values[0], values[2]) == (1, 1)


def test_assumptions_hold_in_all_cycles_up_to_the_broken_one(tmp_path):
    bench = Bench()
    a = bench.free("a")
    bench.assume(~(bench.before(a, "then") & a))
    bench.claim("never twice", ~(bench.before(a, "before") & a))
    check(bench, Unbounded(), tmp_path)
