"""Damage of every kind is detected, named, and answered with the checkpoint before it."""

import hashlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shards import assert_same, checkpoint, commit, files, new_shard, reopen

from fedgen.errors import InputError
from fedgen.runs import checkpoints
from fedgen.runs.checkpoints import Damaged, Extent, decode, encode
from fedgen.runs.shard import Shard

SHARD = Path("shards/fedavg-seed0")
FILES = ("checkpoint-000002.json", "checkpoint-000002.npz", "rounds.csv", "clients.csv")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A shard with the checkpoints of rounds 1 and 2."""
    new_shard(tmp_path / "run", 3)
    return tmp_path / "run"


def damage(run: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    path = run / SHARD / name
    path.write_bytes(change(path.read_bytes()))


def assert_previous_is_used(run: Path, name: str) -> Shard:
    warnings: list[str] = []
    shard, received = reopen(run, warnings.append)
    assert_same(received, checkpoint(1))
    assert len(warnings) == 1 and name in warnings[0]
    assert "Going on from round 1" in warnings[0]
    return shard


@pytest.mark.parametrize("name", FILES)
def test_going_on_from_the_previous_checkpoint_ends_in_the_same_bytes(run: Path, name: str) -> None:
    whole = files(run)
    damage(run, name, lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    shard = assert_previous_is_used(run, name)
    commit(shard, 2)
    assert files(run) == whole
    assert_same(reopen(run)[1], checkpoint(2))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_truncated_file_is_damage(run: Path, name: str) -> None:
    shutil.copytree(run, run.with_name("copy"))
    damage(run, name, lambda content: content[:-1])
    assert_previous_is_used(run, name)
    if name.startswith("checkpoint") and name.endswith("npz"):
        (run.with_name("copy") / SHARD / name).unlink()
        assert_previous_is_used(run.with_name("copy"), name)


def test_rows_that_both_checkpoints_know_cannot_be_replaced(run: Path) -> None:
    damage(run, "rounds.csv", lambda content: content[:5])
    before = files(run)
    with pytest.raises(InputError, match=r"no checkpoint is whole .*rounds\.csv: has 5 bytes"):
        reopen(run)
    assert files(run) == before


def test_two_damaged_checkpoints_are_an_error_that_names_both(run: Path) -> None:
    for number in (1, 2):
        damage(run, f"checkpoint-00000{number}.npz", lambda content: content[:100])
    with pytest.raises(InputError, match=r"000002\.npz: has 100 bytes.*000001\.npz: has 100"):
        reopen(run)


def test_every_byte_of_a_manifest_matters(run: Path) -> None:
    path = run / SHARD / FILES[0]
    content = path.read_bytes()
    flipped = bytearray(content)
    for place in range(len(content)):
        for bit in (1, 32, 128):  # 32 turns a capital into a small letter
            flipped[place] ^= bit
            with pytest.raises(Damaged):
                decode(bytes(flipped))
            flipped[place] ^= bit
    assert decode(bytes(flipped)).round == 2
    assert len(content) < 2_000


def test_every_length_of_a_manifest_and_of_a_checkpoint_matters(run: Path) -> None:
    content = (run / SHARD / FILES[0]).read_bytes()
    manifest = decode(content)
    for length in range(len(content)):
        with pytest.raises(Damaged):
            decode(content[:length])
    path = run / SHARD / FILES[1]
    arrays = path.read_bytes()
    for length in [*range(len(arrays)), len(arrays) + 1]:
        path.write_bytes((arrays + b"\0")[:length])
        with pytest.raises(Damaged, match=r"000002\.npz: has"):
            checkpoints.read(run / SHARD, manifest)
    path.write_bytes(arrays)
    assert_same(checkpoints.read(run / SHARD, manifest), checkpoint(2))


@given(share=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_altered_byte_of_the_arrays_is_detected(
    shared_run: Path, share: float, change: int
) -> None:
    manifest = checkpoints.read_manifest(shared_run / SHARD, 2)
    path = shared_run / SHARD / FILES[1]
    good = path.read_bytes()
    altered = bytearray(good)
    altered[int(share * len(good))] ^= change
    path.write_bytes(altered)
    try:
        with pytest.raises(Damaged, match="sha256 differs"):
            checkpoints.read(shared_run / SHARD, manifest)
    finally:
        path.write_bytes(good)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("shared") / "run"
    new_shard(run, 3)
    return run


def signed(run: Path, content: bytes, **changed: object) -> checkpoints.Manifest:
    """A manifest that vouches for whatever the arrays' file is: what a forger writes."""
    (run / SHARD / FILES[1]).write_bytes(content)
    extent = Extent(len(content), hashlib.sha256(content).hexdigest())
    values = json.loads((run / SHARD / FILES[0]).read_bytes())
    values.pop("sha256")
    values["rows"] = {name: Extent(**part) for name, part in values["rows"].items()}
    return checkpoints.Manifest(**{**values, "content": extent, **changed})


def test_a_forged_manifest_of_arrays_that_claim_a_huge_shape_allocates_nothing(run: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    stream = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("array_0.npy", header.getvalue() + bytes(8))
    manifest = signed(run, stream.getvalue(), weights=1, arrays=0)
    with pytest.raises(Damaged, match="takes 8,000,000,000,000 bytes, 8 are there"):
        checkpoints.read(run / SHARD, manifest)


def test_a_forged_manifest_of_pickled_or_packed_arrays_is_refused(run: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, array_0=np.array([{"a": 1}], object))
    with pytest.raises(Damaged, match="expected booleans or numbers"):
        checkpoints.read(run / SHARD, signed(run, stream.getvalue(), weights=1, arrays=0))
    stream = io.BytesIO()
    np.savez_compressed(stream, array_0=np.zeros(10_000))
    with pytest.raises(Damaged, match="is compressed in a way"):
        checkpoints.read(run / SHARD, signed(run, stream.getvalue(), weights=1, arrays=0))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'"x"', b"[" * 100_000, b"\xff", b'{"format": 2}', b'{"format": 1}'],
)
def test_what_is_no_manifest_is_damage(content: bytes) -> None:
    with pytest.raises(Damaged):
        decode(content)


def test_a_manifest_of_another_layout_says_so(run: Path) -> None:
    manifest = decode((run / SHARD / FILES[0]).read_bytes())
    from dataclasses import replace

    with pytest.raises(Damaged, match="format 1, this fedgen reads 2"):
        decode(encode(replace(manifest, format=1)))


def test_a_manifest_under_another_rounds_name_is_damage(run: Path) -> None:
    path = run / SHARD / "checkpoint-000007.json"
    path.write_bytes((run / SHARD / FILES[0]).read_bytes())
    warnings: list[str] = []
    assert_same(reopen(run, warnings.append)[1], checkpoint(2))
    assert "checkpoint-000007.json: is of round 2" in warnings[0]
    assert not path.exists()


def test_other_files_in_a_shard_are_left_alone(run: Path) -> None:
    for name in ("checkpoint-x.json", "notes.txt"):
        (run / SHARD / name).write_text("mine")
    assert_same(reopen(run)[1], checkpoint(2))
    assert (run / SHARD / "notes.txt").read_text() == "mine"
