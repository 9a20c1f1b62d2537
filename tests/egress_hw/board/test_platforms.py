import re

import pytest

from egress_hw.board.platforms import SETUPS, setup
from egress_hw.board.search import LADDER
from egress_hw.board.top import BoardTop
from egress_hw.boards import BOARDS, board, canonical, other_board

ASKED_FOR = (
    *("icebreaker", "icestick", "upduino_v3", "ice40_hx8k_b_evn", "ulx3s"),
    *("ulx3s-12f", "ulx3s-25f", "ulx3s_45f", "ULX3S-85F", "colorlight 5A-75B", "ecpix5"),
    *("ecpix5-45", "ecpix5_85", "orangecrab", "orangecrab-85", "icesugar_pro", "tang_nano_9k"),
    *("tang_primer_20k", "crosslink-nx"),
)

PINS = {
    "icebreaker": ("pcf", {"uart_0__rx__io": "6", "uart_0__tx__io": "9", "clk12_0__io": "35"}),
    "upduino-v3": ("pcf", {"egress_serial_0__rx__io": "38", "clk12_0__io": "20"}),
    "ulx3s-25f": ("lpf", {"uart_0__rx__io": "M1", "egress_flash_0__cs__io": "R2"}),
    "colorlight-5a75b": (
        "lpf",
        {"egress_serial_0__tx__io": "P11", "egress_flash_0__copi__io": "T8"},
    ),
    "orangecrab-25f": ("lpf", {"egress_serial_0__rx__io": "N17", "rgb_led_0__g__io": "M3"}),
    "tang-nano-9k": ("cst", {"uart_0__rx__io": "18", "egress_flash_0__clk__io": "59"}),
    "crosslink-nx-evn": ("pdc", {"egress_serial_0__rx__io": "D7", "led_0__io": "E17"}),
}
"""Of each family and each kind of wiring: pins as the tools are told them."""

FORMS = {
    "pcf": "set_io {port} {pin}",
    "lpf": 'LOCATE COMP "{port}" SITE "{pin}";',
    "cst": 'IO_LOC "{port}" {pin};',
    "pdc": "ldc_set_location -site {{{pin}}} [get_ports {port}]",
}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_a_board_is_found_by_each_of_its_names(name):
    assert setup(name).name in BOARDS
    assert board(name).name == canonical(name)


def test_a_board_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=re.escape(f"one of {', '.join(SETUPS)}, not 'nonsense'")):
        setup("nonsense")


@pytest.mark.parametrize("place", SETUPS.values(), ids=SETUPS)
def test_clocks_are_those_of_the_oscillator_or_of_a_pll(place):
    platform = place.platform()
    if place.clock:
        platform.default_clk = place.clock
    assert platform.default_clk_frequency == place.oscillator_hz
    assert place.lanes in LADDER
    if place.clock_hz != place.oscillator_hz:
        assert board(place.name).family in ("ecp5", "ice40")


@pytest.mark.parametrize("name", PINS)
def test_pins_are_as_the_board_has_them(name):
    place = setup(name)
    files = place.platform().prepare(BoardTop(place, 1), "top").files
    kind, pins = PINS[name]
    content = files[f"top.{kind}"]
    text = content if isinstance(content, str) else content.decode()
    for port, pin in pins.items():
        assert FORMS[kind].format(port=port, pin=pin) in text.splitlines()
    design = files["top.il"]
    design = design if isinstance(design, str) else design.decode()
    ecp5 = board(name).family == "ecp5"
    assert ("EHXPLLL" in design) == (place.clock_hz != place.oscillator_hz)
    assert ("USRMCLK" in design) == ecp5


def test_boards_with_other_tools_tell_their_tools_and_clock():
    arty = other_board("arty_a7")
    assert arty
    assert (arty.toolchain, arty.clock_hz) == ("Vivado", 100e6)
    assert other_board("nonsense") is None
    assert other_board("no module") is None
