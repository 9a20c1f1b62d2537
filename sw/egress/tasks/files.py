"""Reading a task's files: plain or gzip, with errors that say where and what."""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from egress.tasks.task import DataError

DATA_VARIABLE = "EGRESS_DATA"
"""Environment variable that names the folder of data."""


def data_folder(data: Path | str | None) -> Path:
    """Find the folder of data: the one given, or the one that `DATA_VARIABLE` names.

    Raises
    ------
    DataError
        If neither is, or there is no such folder.
    """
    given = data or os.environ.get(DATA_VARIABLE)
    if not given:
        raise DataError(
            f"this task reads files: name their folder with --data or in {DATA_VARIABLE}"
        )
    folder = Path(given)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder of data")
    return folder


def read_text(folder: Path, name: str) -> str:
    """Text of ``folder/name``, or of the same with ``.gz`` behind.

    Parameters
    ----------
    folder : Path
        Of the data.
    name : str
        Path in it, as ``imdb/train.jsonl``.

    Raises
    ------
    DataError
        If there is neither, or it cannot be read as UTF-8.
    """
    plain = folder / name
    packed = plain.with_name(plain.name + ".gz")
    path = packed if packed.exists() else plain
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path is packed else raw).decode()
    except FileNotFoundError:
        raise DataError(f"{plain} is missing: put it there, plain or as {packed.name}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def read_json_lines(folder: Path, name: str, *keys: str) -> Iterator[list[Any]]:
    """Values of ``keys`` in each line of a file of JSON objects, one a line; as `read_text`.

    Raises
    ------
    DataError
        If a line is no such object, naming it.
    """
    # str.splitlines would also cut at what JSON leaves unescaped inside strings.
    for number, line in enumerate(read_text(folder, name).split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            yield [entry[key] for key in keys]
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{folder / name}, line {number}: must be a JSON object with {', '.join(keys)}"
            ) from None


def read_pairs(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """Both columns of a file of lines with one tab each; as `read_text`.

    Raises
    ------
    DataError
        If a line has not two columns, naming it.
    """
    for number, line in enumerate(read_text(folder, name).split("\n"), 1):
        if not line.strip():
            continue
        columns = line.rstrip("\r").split("\t")
        if len(columns) != 2:
            raise DataError(
                f"{folder / name}, line {number}: must have two columns, not {len(columns)}"
            )
        yield columns[0], columns[1]
