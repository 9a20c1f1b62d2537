"""The example of examples/verilog as a directory of its own."""

import shutil
from pathlib import Path

from egress.errors import ToolError
from egress.files import replacing
from egress_hw.verilog import export

_SOURCE = Path(__file__).parents[2] / "examples" / "verilog"


def write_example(directory: Path) -> list[Path]:
    """Write the example's core, with its testbenches and streams, into a new directory.

    Returns
    -------
    files : list of Path
        What was written.

    Raises
    ------
    ToolError
        If the example is not beside this package, which it is in a checkout, or yosys fails.
    ValueError
        If there is such a directory, with something in it.
    """
    if not (_SOURCE / "tb.v").is_file():
        raise ToolError(f"{_SOURCE} is missing: the example is only in a checkout of the project")
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(f"{directory} must be a new or empty directory")
    core = export(4, "level", 8, "small", bus=64, contexts=4)
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / "egress_core.v"]
    with replacing(files[0]) as temporary:
        temporary.write_text(core)
    for pattern in ("*.v", "*.hex", "Makefile", "litex.py"):
        for source in sorted(_SOURCE.glob(pattern)):
            if source.name != "egress_core.v":
                files.append(directory / source.name)
                shutil.copyfile(source, files[-1])
    return files
