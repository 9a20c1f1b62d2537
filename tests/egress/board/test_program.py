import os
import shlex
from pathlib import Path

import pytest

from egress.board.program import command, program, with_suffix
from egress.cli import main
from egress.errors import ToolError
from egress_hw.board.platforms import SETUPS

ICE40 = "openFPGALoader -b ice40_generic -f"

LOADERS = {
    "icebreaker": ICE40,
    "icestick": ICE40,
    "upduino-v3": "openFPGALoader -b ice40_generic -c ft232 -f",
    "hx8k-evn": ICE40,
    "colorlight-5a75b": "openFPGALoader -b colorlight",
    "icesugar-pro": "openFPGALoader -c cmsisdap --vid 0x1d50 --pid 0x602b",
    "tang-nano-9k": "openFPGALoader -b tangnano9k",
    "tang-primer-20k": "openFPGALoader -b tangprimer20k",
    "crosslink-nx-evn": "openFPGALoader -b crosslinknx_evn",
    **{f"ulx3s-{size}f": "openFPGALoader -b ulx3s" for size in (12, 25, 45, 85)},
    **{f"ecpix5-{size}f": "openFPGALoader -b ecpix5" for size in (45, 85)},
    **{f"orangecrab-{size}f": "dfu-util -d 1209:5af0 -a 0 -D" for size in (25, 85)},
}
"""Tools and options, with names that `openFPGALoader --list-boards` and `--list-cables` know."""


@pytest.fixture
def said(tmp_path, monkeypatch) -> Path:
    """Where tools in the path write their arguments, and the file that they were given."""
    said = tmp_path / "said"
    for name in ("openFPGALoader", "dfu-util"):
        tool = tmp_path / name
        tool.write_text(
            f'#!/bin/sh\necho {name} "$@" > {said}\nfor f; do :; done\ncat "$f" >> {said}\n'
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return said


@pytest.fixture
def design(tmp_path) -> Path:
    path = tmp_path / "design.bit"
    path.write_text("bits")
    return path


@pytest.mark.parametrize("name", SETUPS)
def test_a_design_is_given_to_the_tool_of_its_board(name, design, said):
    assert main(["board", "program", str(design), "--board", name]) == 0
    arguments, written = said.read_bytes().split(b"\n", 1)
    *options, file = shlex.split(arguments.decode())
    assert options == shlex.split(LOADERS[name])
    assert written[:4] == b"bits"
    assert (file == str(design)) == (options[0] == "openFPGALoader")


def test_a_file_for_dfu_util_ends_as_dfu_suffix_ends_it():
    loader = SETUPS["orangecrab-25f"].loader
    # What `dfu-suffix -v 1209 -p 5af0 -a` makes.
    suffix = "fffff05a091200015546441093ec0e65"
    assert with_suffix(b"bits", loader) == b"bits" + bytes.fromhex(suffix)
    assert with_suffix(with_suffix(b"bits", loader), loader) == with_suffix(b"bits", loader)


def test_a_cable_is_named_to_openfpgaloader(design, said, capsys):
    arguments = ["board", "program", str(design), "--cable", "ft4232", "--board"]
    assert main([*arguments, "ecpix5"]) == 0
    assert said.read_text().startswith(f"openFPGALoader -b ecpix5 -c ft4232 {design}\n")
    assert main([*arguments, "orangecrab"]) == 2
    assert "dfu-util, which programs this board, knows no cables" in capsys.readouterr().err


def test_a_design_goes_to_the_board_that_it_was_made_for(design, said, capsys):
    assert main(["board", "program", str(design)]) == 2
    assert "of which board? design.json" in capsys.readouterr().err
    design.with_suffix(".json").write_text('{"board": "ulx3s-12f"}')
    assert main(["board", "program", str(design), "--dry-run"]) == 0
    assert capsys.readouterr().out == f"openFPGALoader -b ulx3s {design}\n"
    assert not said.exists()
    assert main(["board", "program", str(design)]) == 0
    assert said.read_text() == f"openFPGALoader -b ulx3s {design}\nbits"


@pytest.mark.parametrize(("board", "lost"), [("icebreaker", False), ("ulx3s-12f", True)])
def test_a_model_goes_to_the_flash_as_its_stream(board, lost, model, said, capsys):
    arguments = ["board", "program", str(model), "--board", board, "--flash", "0x200000"]
    assert main(arguments) == 0
    assert b" -f --file-type raw -o 0x200000 /" in said.read_bytes()
    assert b"\nEGR" in said.read_bytes()
    assert ("the FPGA has lost its design meanwhile" in capsys.readouterr().out) == lost


@pytest.mark.parametrize(
    ("loader", "flags"),
    [
        ("-b ulx3s", ["-f"]),
        ("-b ice40_generic -f", []),
        ("-b tangnano9k", ["-f", "--external-flash"]),
    ],
)
def test_a_flash_beside_the_fpga_is_written(loader, flags):
    parts = command(f"openFPGALoader {loader}", Path("f.raw"), 0x1000)
    expected = ["--file-type", "raw", "-o", "0x1000", "f.raw"]
    assert parts == ["openFPGALoader", *loader.split(), *flags, *expected]


def test_dfu_util_knows_no_addresses():
    with pytest.raises(ToolError, match="cannot write to an address of its flash"):
        command("dfu-util", Path("f.dfu"), 0)


def test_what_cannot_be_programmed_is_told(model, design, capsys):
    assert main(["board", "program", str(design), "--board", "breadboard"]) == 2
    assert "board must be one of" in capsys.readouterr().err
    assert main(["board", "program", "nowhere.bit", "--board", "icebreaker"]) == 2
    assert "nowhere.bit: there is no such file" in capsys.readouterr().err


def test_a_tool_that_fails_is_told(design, said):
    tool = said.parent / "openFPGALoader"
    tool.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(ToolError, match="openFPGALoader failed with code 3: is the board plugged"):
        program("openFPGALoader -b ulx3s", design)


@pytest.mark.parametrize("board", ["ulx3s-12f", "orangecrab-25f"])
def test_a_tool_that_is_missing_is_told_with_how_to_install_it(board, design, monkeypatch):
    monkeypatch.setenv("PATH", str(design.parent))
    loader = SETUPS[board].loader
    message = f"{shlex.split(loader)[0]}, which programs this board, is not installed. Debian"
    with pytest.raises(ToolError, match=message):
        program(loader, design)
