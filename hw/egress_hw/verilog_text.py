"""The hierarchy of a design as Verilog that is fit to be read.

Only names and layout change: modules that are the same are told once, no name needs an escape, and
a memory that begins as zeros says so in one line, to simulators only.
"""

import re
from collections.abc import Callable, Mapping, Sequence

_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.DOTALL | re.MULTILINE)
_CELL = re.compile(r"^  cell (\S+) (\S+)\n(.*?)^  end\n", re.DOTALL | re.MULTILINE)
_CONNECT = re.compile(r"^    connect \\(\S+) (.*)$", re.MULTILINE)
_MEMORY_OF = re.compile(r'^    parameter \\MEMID "\\\\(\S+)"$', re.MULTILINE)
_NAME = re.compile(r"(?<!\S)\\(\S+)")
_NUMBERED = re.compile(r"(?<!\S)\$\d+\b")
_ATTRIBUTE = re.compile(r"^ *(?:attribute|parameter) .*$", re.MULTILINE)
_COPY = re.compile(r"_\d+$")

_WRITTEN = re.compile(r"^module (\w+)\((.*?)\);\n", re.DOTALL | re.MULTILINE)
_LEFT_OVER = re.compile(r"^ *\(\* init = .* \*\)\n", re.MULTILINE)
_NET_OF_PORT = re.compile(r"^(  (?:in|out)put (.*;)\n)  wire \2\n", re.MULTILINE)
_INITIAL = re.compile(r"^  initial begin\n((?:    \w+\[\d+\] = \S+;\n){3,})  end\n", re.MULTILINE)
_VALUE = re.compile(r"^    (\w+)\[\d+\] = (\S+);$", re.MULTILINE)

_PART = re.compile(r"\\(\w+)\[(\d+)\] ")

# Of Verilog-2005 and SystemVerilog, those that something in the core is named by, or may be.
_RESERVED = """
alias always and assert assign assume before begin bind bit break buf byte case cell checker
class clocking config const context continue cover default design disable do edge else end
enum event expect export extends final first_match for force forever fork function generate
global if import initial inout input inside instance int integer interface join large let
library local logic longint module new nor not null or output package parameter primitive
priority program property pure rand real ref reg release repeat restrict return sequence
shortint signed small solve static string strong struct super table tagged task this time
type union unique unsigned use var vectored virtual void wait weak while wire with within
xnor xor
"""
_KEYWORDS = frozenset(_RESERVED.split())


def is_name(text: str) -> bool:
    """Whether a module may be named so, in Verilog and in SystemVerilog."""
    return re.fullmatch(r"[A-Za-z_]\w*", text) is not None and text not in _KEYWORDS


def merge_copies(rtlil: str, top: str) -> str:
    """Tell each module once, and give modules and signals names that need no escape.

    Parameters
    ----------
    rtlil : str
        What Amaranth wrote: modules are named by their paths, parents before children.
    top : str
        Name of the top module. The names of all others begin with it.
    """
    modules = dict(_MODULE.findall(rtlil))
    own = {path: _plain_names(body) for path, body in modules.items()}
    first: dict[str, str] = {}  # a module's text to the path that has it
    same: dict[str, str] = {}
    for path in reversed(modules):
        text = _renamed(modules[path], own[path], own, same)
        same[path] = first.setdefault(text, path)
    kept = [path for path in modules if path in same.values()]
    names = _module_names(kept, top)
    final = {path: names[twin] for path, twin in same.items()}
    return "\n".join(
        f"module \\{names[path]}\n{_renamed(modules[path], own[path], own, final)}end\n"
        for path in kept
    )


def _plain_names(body: str) -> dict[str, str]:
    """Find a plain name for each of a module's wires, memories and cells."""
    found = re.findall(r"^  (?:wire|memory) .*\\(\S+)$|^  cell \S+ \\(\S+)$", body, re.MULTILINE)
    names: dict[str, str] = {}
    taken: set[str] = set(_KEYWORDS)
    unnamed = 0
    # What needs no change keeps its name.
    for name in sorted((wire or cell for wire, cell in found), key=_is_plain, reverse=True):
        if name in names:
            continue
        if name.startswith("port$"):
            # A port for a value without a name: the numbers in it are other ones in each copy.
            plain, unnamed = f"port_{unnamed}", unnamed + 1
        else:
            plain = re.sub(r"\W+", "_", name).strip("_")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        names[name] = plain
    return names


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"\w+", name) is not None


def _renamed(
    body: str,
    own: Mapping[str, str],
    names: Mapping[str, Mapping[str, str]],
    modules: Mapping[str, str],
) -> str:
    """Rename what a module's text names, with cells that are numbered in order."""

    def local(text: str) -> str:
        return _NAME.sub(lambda found: "\\" + own.get(found[1], found[1]), text)

    def cell(found: re.Match[str]) -> str:
        kind, name, inside = found.groups()
        ports = names.get(kind[1:], {})
        inside = _MEMORY_OF.sub(
            lambda memory: f'    parameter \\MEMID "\\\\{own[memory[1]]}"', inside
        )
        inside = _CONNECT.sub(
            lambda port: f"    connect \\{ports.get(port[1], port[1])} {local(port[2])}", inside
        )
        kind = "\\" + modules[kind[1:]] if kind[1:] in modules else kind
        return f"  cell {kind} {local(name)}\n{inside}  end\n"

    parts, at = [], 0
    for found in _CELL.finditer(body):
        parts += [_outside(body[at : found.start()], local), cell(found)]
        at = found.end()
    whole = "".join([*parts, _outside(body[at:], local)])
    numbers: dict[str, str] = {}
    return _NUMBERED.sub(lambda n: numbers.setdefault(n[0], f"${len(numbers) + 1}"), whole)


def _outside(text: str, local: Callable[[str], str]) -> str:
    """Rename in text outside of cells, except in attributes, which name themselves."""
    return "\n".join(
        line if _ATTRIBUTE.fullmatch(line) else local(line) for line in text.split("\n")
    )


def _module_names(paths: Sequence[str], top: str) -> dict[str, str]:
    """Name modules by their paths; without the numbers of copies, where all are the same."""
    short = {path: _COPY.sub("", re.sub(r"_\d+\.", ".", path)) for path in paths}
    names: dict[str, str] = {}
    # Where all is in one component, the top module but gives its ports names.
    wrapped = len({path.split(".")[1] for path in paths if "." in path}) == 1
    for path in paths:
        differs = list(short.values()).count(short[path]) > 1
        parts = (path if differs else short[path]).split(".")[1:]
        names[path] = "_".join([top, *(parts[1:] or parts if wrapped else parts)])
    return names


def tidy(verilog: str, top: str, ports: Sequence[str], comments: Mapping[str, str]) -> str:
    """Tidy the text that yosys wrote of what `merge_copies` gave.

    Parameters
    ----------
    verilog : str
    top : str
        Name of the top module.
    ports : sequence of str
        Its ports, in the order in which they are to be listed.
    comments : mapping
        What stands above a module, by the end of its name.
    """

    def head(found: re.Match[str]) -> str:
        name, listed = found.groups()
        text = next((text for end, text in comments.items() if name.endswith(end)), "")
        comment = f"// {text}\n" if text else ""
        if name != top:
            return f"{comment}module {name} ({' '.join(listed.split())});\n"
        if sorted(listed.replace(",", " ").split()) != sorted(ports):
            raise ValueError(f"ports must be those of {top}, not {', '.join(ports)}")
        return f"module {name} (\n  " + ",\n  ".join(ports) + "\n);\n"

    verilog = _PART.sub(r"\1_\2", verilog)
    verilog = _NET_OF_PORT.sub(r"\1", _LEFT_OVER.sub("", verilog))
    return clear_at_once(_WRITTEN.sub(head, verilog))


def clear_at_once(verilog: str) -> str:
    """Let memories that begin as zeros do so in a line each, and in simulators only.

    No memory is read for what it begins with: after a reset it holds what was in it. Yosys takes
    minutes to read ten thousand such words.

    Parameters
    ----------
    verilog : str
        As yosys writes it.
    """
    return _INITIAL.sub(_cleared, verilog)


def _cleared(found: re.Match[str]) -> str:
    values = _VALUE.findall(found[1])
    name, value = values[0]
    if set(values) != {(name, value)} or not re.fullmatch(r"\d+'\w0+", value):
        return found[0]
    return (
        f"`ifndef SYNTHESIS\n  initial begin : clear_{name}\n    integer i;\n"
        f"    for (i = 0; i < {len(values)}; i = i + 1) {name}[i] = {value};\n  end\n`endif\n"
    )
