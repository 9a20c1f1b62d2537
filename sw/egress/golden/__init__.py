"""Golden and hostile streams: what every decoder must give, and what it must refuse.

``python -m egress.golden`` writes them, ``python -m egress.golden --check`` compares. The levels
come from integer arithmetic alone, so the same bytes come out on every platform.
"""

import argparse
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from egress.golden.hostile import hostile_streams
from egress.golden.streams import golden_streams


def _npy(levels: list[int]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(levels, "<i2"), allow_pickle=False)
    return buffer.getvalue()


def _json(entries: list[dict[str, Any]]) -> bytes:
    return (json.dumps(entries, indent=1) + "\n").encode()


def files() -> dict[str, bytes]:
    """All files of `bitstreams/golden` and `bitstreams/hostile`, by path."""
    out: dict[str, bytes] = {}
    golden_index, hostile_index = [], []
    for stream in golden_streams():
        data = b"".join(stream.records)
        out[f"golden/{stream.name}.egs"] = data
        out[f"golden/{stream.name}.npy"] = _npy([v for levels in stream.levels for v in levels])
        golden_index.append(
            {
                "file": f"{stream.name}.egs",
                "levels": f"{stream.name}.npy",
                "how": stream.how,
                "weights": [len(levels) for levels in stream.levels],
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    for case in hostile_streams():
        out[f"hostile/{case.name}.egs"] = case.data
        hostile_index.append(
            {
                "file": f"{case.name}.egs",
                "how": case.how,
                "reason": int(case.reason),
                "hardware": None if case.hardware is None else int(case.hardware),
                "segment": case.segment,
            }
        )
    out["golden/index.json"] = _json(golden_index)
    out["hostile/index.json"] = _json(hostile_index)
    return out


def compare(folder: Path) -> list[str]:
    """Compare ``folder`` with what should be there; return what differs."""
    expected = files()
    there = {
        path.relative_to(folder).as_posix()
        for sub in ("golden", "hostile")
        for path in (folder / sub).glob("*")
        if path.suffix in (".egs", ".npy", ".json")
    }
    problems = [f"{name} is missing" for name in sorted(expected.keys() - there)]
    problems += [f"{name} should not be there" for name in sorted(there - expected.keys())]
    problems += [
        f"{name} differs"
        for name in sorted(expected.keys() & there)
        if (folder / name).read_bytes() != expected[name]
    ]
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; the exit code is 1 if a checked file differs."""
    parser = argparse.ArgumentParser(
        prog="python -m egress.golden",
        description="Write the golden and hostile streams, or compare them with what is there.",
        epilog="example: python -m egress.golden --check",
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--folder", type=Path, default=Path("bitstreams"))
    options = parser.parse_args(arguments)
    if options.check:
        problems = compare(options.folder)
        print("\n".join(problems) or f"{options.folder}: all files are as they should be")
        return 1 if problems else 0
    for name, data in files().items():
        path = options.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return 0
