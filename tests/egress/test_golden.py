import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import egress
from egress import BitstreamError, Reason, golden, kernels
from egress.record import Header
from egress.reference import decode_segment

FOLDER = Path(__file__).parents[2] / "bitstreams"
GOLDEN = json.loads((FOLDER / "golden/index.json").read_text())
HOSTILE = json.loads((FOLDER / "hostile/index.json").read_text())


def test_the_files_in_the_repository_are_what_the_generator_writes():
    assert golden.compare(FOLDER) == []


def test_a_changed_missing_or_stray_file_is_named(tmp_path):
    for name, data in golden.files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "golden/raw_8.egs").write_bytes(b"EGR")
    (tmp_path / "golden/raw_4.npy").unlink()
    (tmp_path / "hostile/new.egs").touch()
    assert golden.compare(tmp_path) == [
        "golden/raw_4.npy is missing",
        "hostile/new.egs should not be there",
        "golden/raw_8.egs differs",
    ]
    assert golden.main(["--check", "--folder", str(tmp_path)]) == 1


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["file"])
def test_a_golden_stream_decodes_to_its_levels(entry):
    data = (FOLDER / "golden" / entry["file"]).read_bytes()
    expected = np.load(FOLDER / "golden" / entry["levels"])
    levels = [level for record in egress.decode_stream(data) for level in record.levels.tolist()]
    assert levels == expected.tolist()


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["file"])
def test_the_scalar_reference_reads_a_golden_stream_by_the_text_alone(entry):
    # Framing by hand, so that nothing but the reference is trusted.
    data = (FOLDER / "golden" / entry["file"]).read_bytes()
    expected = np.load(FOLDER / "golden" / entry["levels"]).tolist()
    levels = []
    while data:
        header = Header.unpack(data)
        at = header.size
        dealt = [0] * header.weights
        for number in range(header.segments):
            upper = int.from_bytes(data[at : at + 2], "big")
            end = at + 4 + 4 * (upper & 0xFFF)
            bits = "".join(f"{byte:08b}" for byte in data[at + 4 : end])
            where = range(header.weights)[header.segment_slice(number)]
            part = decode_segment(bits, len(where), header.settings[upper >> 14], header.level_bits)
            for index, level in zip(where, part, strict=True):
                dealt[index] = level
            at = end
        levels += dealt
        data = data[at:]
    assert levels == expected


@pytest.mark.parametrize("entry", HOSTILE, ids=lambda entry: entry["file"])
def test_a_hostile_stream_is_refused_for_its_reason_and_place(entry):
    data = (FOLDER / "hostile" / entry["file"]).read_bytes()
    with pytest.raises(BitstreamError) as caught:
        list(egress.decode_stream(data))
    assert caught.value.reason == entry["reason"]
    assert caught.value.segment == entry["segment"]


def test_there_is_a_hostile_stream_for_every_reason():
    reasons = {entry["reason"] for entry in HOSTILE}
    # A record that needs a larger buffer is refused by small decoders only.
    assert reasons == {int(r) for r in Reason} - {Reason.BUFFER_TOO_SMALL}


MODEL = (FOLDER / "golden/model.egs").read_bytes()


def test_every_flipped_bit_of_a_whole_model_is_noticed():
    assert len(MODEL) >= 4096
    for bit in range(8 * len(MODEL)):
        damaged = bytearray(MODEL)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(BitstreamError):
            list(egress.decode_stream(damaged))


def test_every_truncation_of_a_whole_model_is_refused():
    ends = {0}
    for record in egress.decode_stream(MODEL):
        ends.add(max(ends) + record.size)
    for size in sorted(set(range(len(MODEL))) - ends):
        with pytest.raises(BitstreamError) as caught:
            list(egress.decode_stream(MODEL[:size]))
        assert caught.value.reason is Reason.TRUNCATED


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("threads", [1, 2])
def test_every_kernel_and_number_of_threads_writes_the_same_bytes(kernel, threads, monkeypatch):
    monkeypatch.setenv("EGRESS_KERNEL", kernel)
    (entry,) = [entry for entry in GOLDEN if entry["file"] == "model.egs"]
    records = list(egress.decode_stream(MODEL))
    assert hashlib.sha256(MODEL).hexdigest() == entry["sha256"]
    again = b"".join(
        egress.encode(record.levels, step=record.step, profile="small", threads=threads)
        for record in records
    )
    assert again == MODEL


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["file"])
def test_the_index_holds_the_digest_of_every_file(entry):
    data = (FOLDER / "golden" / entry["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == entry["sha256"]
