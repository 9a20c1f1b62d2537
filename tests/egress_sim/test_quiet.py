"""What stands still is not worked out again.

That a core does the same in every cycle is tested with whole streams: in `test_fast`, whose other
engine takes the core as it is.
"""

import re

import pytest

from egress_hw import verilog
from egress_sim.compiled import simplified
from egress_sim.quiet import skip_quiet
from egress_sim.shape import Shape
from egress_sim.simulate import core_verilog

MODULES = r"""
module slow(input clk, input rst, input take, input [3:0] word, input [1:0] turn,
            output [3:0] sum, output full, output [3:0] kept);
    reg [3:0] total = 0, before = 0;
    reg [3:0] words [0:3];
    reg [1:0] place = 0;
    wire [3:0] twice = {word[2:0], word[3]} + 4'd3;
    wire [3:0] folded = (total ^ {before[0], before[3:1]}) + (total & before) + 4'd5;
    assign sum = folded ^ twice ^ {turn, 2'b0};
    assign full = total[3] & (place == 2'd2 | before[1]);
    assign kept = words[place];
    always @(posedge clk) begin
        if (rst) begin total <= 0; place <= 0; end
        else if (take) begin total <= total + twice; place <= place + full; end
        if (take) before <= folded;
        if (take & word[0]) words[place] <= total;
    end
endmodule
module top(input clk, input rst, input take, input [3:0] word,
           output reg [3:0] sum, output full, output reg [3:0] m_axis_kept);
    reg [1:0] context_ = 0;
    wire [3:0] next_sum, kept;
    slow part(clk, rst, take, word, context_, next_sum, full, kept);
    always @(posedge clk) begin
        context_ <= context_ + 1;
        sum <= next_sum;
        m_axis_kept <= kept + context_;
    end
endmodule
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return skip_quiet(simplified(MODULES, "top", tmp_path_factory.mktemp("quiet")), "top")


def waiting(text: str, start: str) -> str:
    """Return all that waits for flags in blocks that begin so."""
    blocks = re.findall(
        rf"{start} if \(\|\(changed & \d+'d\d+\)\) begin\n(.*?)\n *end\n", text, re.S
    )
    return "\n".join(blocks)


def test_logic_that_depends_on_what_stands_still_waits_for_it(quiet):
    nets = waiting(quiet, r"always @\*")
    assert re.search(r"\\part.folded += ", nets)
    assert re.search(r"\bfull = ", nets)
    # It depends on the turn too, which changes in each cycle.
    assert "next_sum" not in nets


def test_registers_wait_if_nothing_that_they_depend_on_changes_in_each_cycle(quiet):
    registers = waiting(quiet, " *")
    for name in ("total", "before", "place"):
        assert re.search(rf"\\part.{name} +<= ", registers)
    assert "  context_ <= " in quiet
    assert "context_ <= " not in registers
    assert "m_axis_kept <= " not in registers


def test_a_register_or_memory_that_changes_and_an_input_set_a_flag(quiet):
    for name in ("total", "before", "place"):
        assert re.search(
            rf"any_changed_(\d) = any_changed_\1 \| \(\w+ != \\part.{name} ?\);", quiet
        )
    # Of the memory it is that it is written.
    assert re.search(r"any_changed_(\d) = any_changed_\1 \| \(_\d+_\);", quiet)
    assert "(rst != rst_before) | (take != take_before) | (word != word_before)" in quiet


def test_each_register_and_net_is_driven_once(quiet):
    for name in (r"\\part.total", r"\\part.before", r"\\part.place", "context_", "sum"):
        assert len(re.findall(rf"^ *{name} +<= ", quiet, re.M)) == 1
    assert len(re.findall(r"^ *(?:assign )?\\part.folded +=", quiet, re.M)) == 1


@pytest.mark.parametrize("contexts", [2, 4, 8])
def test_half_of_what_a_core_of_one_lane_works_out_waits(contexts, tmp_path):
    shape = Shape(lanes=1, output="level", max_level_bits=8, buffer=8, contexts=contexts)
    plain = simplified(core_verilog(shape), verilog.TOP, tmp_path)
    quiet = skip_quiet(plain, verilog.TOP)
    nets = re.findall(r"^  assign ", plain, re.M)
    assert len(re.findall(r"^  assign ", quiet, re.M)) < 0.6 * len(nets)
    assert waiting(quiet, r"always @\*").count("\n") > 0.4 * len(nets)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("  always @(posedge clk)\n    case (a)\n", "not as yosys writes a register"),
        ("", "there is no module other"),
    ],
)
def test_what_is_not_understood_is_refused(body: str, message: str):
    top = "other" if not body else "top"
    with pytest.raises(ValueError, match=message):
        skip_quiet(f"module top(clk);\n  input clk;\n{body}endmodule\n", top)
