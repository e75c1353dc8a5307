"""Killed, interrupted and extended runs end with the bytes of one that was left alone."""

import os
import random
import re
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from runs import (
    ENGINE,
    FLAGS,
    PATIENCE,
    comparable,
    finish,
    play,
    rows,
    start,
    wait_for_file,
    wait_for_line,
)
from warm import Command

from fedgen.runs.run import Run

ROUNDS = 4
STRATEGIES = ["genetic-cfl", "fedavg", "centralised"]

KILLS = int(os.environ.get("FEDGEN_KILLS", "2" if ENGINE == "jax" else "4"))
"""How many runs are killed at a random moment; `make soak` sets it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "whole"
    return play(out, run={"rounds": ROUNDS, "strategies": STRATEGIES})


@pytest.fixture(scope="module")
def expected(whole: Run) -> dict[str, object]:
    return comparable(whole.path)


@pytest.fixture
def copy(whole: Run, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    shutil.copytree(whole.path, tmp_path / "run")
    return tmp_path / "run"


def compare_arguments(rounds: int) -> list[str]:
    return ["compare", *FLAGS, f"--rounds={rounds}", f"--strategies={','.join(STRATEGIES)}"] + [
        "--out=run"
    ]


def resume(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    return finish(start(["resume", "run", *arguments], cwd))


def kill(process: Command) -> None:
    process.kill()
    process.communicate()


def moment(run: Path, last_round: int) -> str:
    """Where a killed run was, as its files tell."""
    if not (run / "config.toml").exists():
        return "before the run directory was there"
    if (run / "report.html").exists():
        return "after the report"
    finished = [
        max(
            (int(path.stem[-6:]) for path in run.glob(f"shards/{name}-seed0/checkpoint-*.json")),
            default=-1,
        )
        for name in STRATEGIES
    ]
    if max(finished) < 0:
        return "before the first checkpoint"
    return "after the last round" if min(finished) == last_round else "between checkpoints"


def test_runs_killed_at_random_moments_resume_to_the_same_bytes(tmp_path: Path) -> None:
    """One run in four is killed while it starts, the others once their directory is there.

    A second kill hits the process that resumes.
    """
    last, run = 12, tmp_path / "run"
    began = time.monotonic()
    process = start(compare_arguments(last), tmp_path)
    wait_for_file(run / "config.toml", process)
    started = time.monotonic() - began
    assert finish(process)[0] == 0
    ended = time.monotonic() - began
    expected = comparable(run)

    draw = random.Random(os.urandom(8))
    moments: Counter[str] = Counter()
    for number in range(KILLS):
        shutil.rmtree(run)
        told = []
        for arguments in (compare_arguments(last), ["resume", "run"]):
            process = start(arguments, tmp_path)
            span = (0.0, started) if draw.random() < 0.25 else (started, 1.02 * ended)
            told.append(draw.uniform(*span))
            time.sleep(told[-1])
            kill(process)
            moments[moment(run, last)] += 1
            if not (run / "config.toml").exists():
                code, _, err = resume(tmp_path)
                assert code == 2 and "not a run directory" in err
                break
        made = (run / "config.toml").exists()
        again = ["resume", "run"] if made else compare_arguments(last)
        code, _, err = finish(start([*again, "--quiet"], tmp_path))
        assert (code, err) == (0, ""), f"run {number}, killed after {told} s: {err}"
        assert comparable(run) == expected, f"run {number}, killed after {told} s"
    print(f"\n{KILLS} runs, {moments.total()} kills, {KILLS} times the same bytes. Killed")
    for name, count in moments.most_common():
        print(f"{count:5} {name}")
    assert moments.total() >= KILLS


def test_a_run_killed_between_checkpoints_resumes_to_the_same_bytes(
    expected: dict[str, object], tmp_path: Path
) -> None:
    process = start(compare_arguments(ROUNDS), tmp_path)
    wait_for_line(process, "2 ")
    kill(process)
    assert not (tmp_path / "run" / "rounds.csv").exists()
    code, _, err = resume(tmp_path, "--quiet")
    assert (code, err) == (0, "")
    assert comparable(tmp_path / "run") == expected


def test_a_run_killed_before_its_first_checkpoint_resumes(
    expected: dict[str, object], tmp_path: Path
) -> None:
    process = start(compare_arguments(ROUNDS), tmp_path)
    wait_for_file(tmp_path / "run" / "config.toml", process)
    kill(process)
    assert moment(tmp_path / "run", ROUNDS) == "before the first checkpoint"
    assert resume(tmp_path, "--quiet", "--workers=1")[0] == 0
    assert comparable(tmp_path / "run") == expected


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_goes_on(
    expected: dict[str, object], copy: Path
) -> None:
    path = copy / "shards/genetic-cfl-seed0" / f"checkpoint-{ROUNDS:06}.npz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    code, _, err = resume(copy.parent, "--quiet")
    assert code == 0
    assert err == (
        f"!!! DAMAGED: run/shards/genetic-cfl-seed0/{path.name}: its bytes are not those that were "
        f"written (sha256 differs). Going on from round {ROUNDS - 1}, the one before.\n"
    )
    assert comparable(copy) == expected


def test_without_a_whole_checkpoint_nothing_is_touched(copy: Path) -> None:
    for path in copy.glob("shards/fedavg-seed0/*.npz"):
        path.write_bytes(b"")
    before = {path: path.read_bytes() for path in copy.rglob("*.csv")}
    code, _, err = resume(copy.parent, "--quiet")
    assert code == 2 and "no checkpoint is whole" in err and "000003.npz: has 0 bytes" in err
    assert before == {path: path.read_bytes() for path in copy.rglob("*.csv")}


def test_more_rounds_extend_a_finished_run(expected: dict[str, object], tmp_path: Path) -> None:
    play(tmp_path / "run", run={"rounds": 2, "strategies": STRATEGIES})
    code, out, _ = resume(tmp_path, f"--rounds={ROUNDS}")
    assert code == 0 and "already finished" not in out
    assert comparable(tmp_path / "run") == expected
    code, out, _ = resume(tmp_path)
    assert code == 0 and "already finished" in out
    assert comparable(tmp_path / "run") == expected
    code, _, err = resume(tmp_path, "--rounds=1")
    assert code == 2 and "--rounds 1" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_finished_rounds_and_says_how_to_go_on(
    tmp_path: Path, sign: signal.Signals
) -> None:
    process = start(compare_arguments(10_000), tmp_path)
    wait_for_line(process, "3 ")
    asked = time.monotonic()
    process.send_signal(sign)
    code, _, err = finish(process)
    assert time.monotonic() - asked < PATIENCE
    assert code == 130
    assert err == "interrupted; every finished round is kept. Go on with: " + (
        "python -m fedgen resume run\n"
    )
    kept = [int(r["round"]) for r in rows(tmp_path / "run" / "rounds.csv")]
    assert kept.count(3) >= (1 if ENGINE == "jax" else 3)  # whose arms have a line each


def test_ctrl_c_does_not_wait_for_a_long_client(tmp_path: Path) -> None:
    long = ["--dataset=digits", "--clients=4", "--fraction=1", "--set=training.local_epochs=500000"]
    process = start(["compare", *long, f"--engine={ENGINE}", "--rounds=1", "--out=run"], tmp_path)
    wait_for_line(process, "0 ")
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert time.monotonic() - asked < PATIENCE
    assert code == 130 and "resume run" in err


def test_a_failure_says_how_to_go_on(copy: Path) -> None:
    (copy / "models" / "fedavg-seed0.keras").unlink()
    (copy / "models" / "fedavg-seed0.keras").mkdir()
    code, _, err = resume(copy.parent, "--quiet")
    assert code == 3
    first, second = err.splitlines()
    assert first.endswith("Go on with: python -m fedgen resume run")
    assert "fedavg-seed0.keras: cannot be written" in second


def test_a_second_process_exits_at_once_with_the_first_ones_pid(tmp_path: Path) -> None:
    first = start(compare_arguments(10_000), tmp_path)
    try:
        wait_for_line(first, "1 ")
        code, _, err = resume(tmp_path)
        assert code == 2 and len(err.splitlines()) == 1
        assert f"run: process {first.pid} is working on it" in err
        code, out, _ = finish(start(["report", "run"], tmp_path))  # reading is allowed
        assert code == 0 and out == "run/report.html\n"
    finally:
        kill(first)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert len(re.findall(old, text)) == 1
    path.write_text(re.sub(old, new, text))


def test_other_settings_data_or_versions_are_refused_with_all_differences(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.glob("shards/*/*")}
    config = copy / "config.toml"
    edit(config, "local_epochs = 1", "local_epochs = 3")
    edit(config, r"mutation = 0\.1", "mutation = 0.2")
    edit(config, 'fingerprint = "[0-9a-f]+"', f'fingerprint = "{"0" * 64}"')
    edit(config, rf'\n{ENGINE} = "[0-9.]+"', f'\n{ENGINE} = "1.15.0"')
    code, _, err = resume(copy.parent)
    assert code == 2 and len(err.splitlines()) == 1
    for text in (
        "training.local_epochs was 1 and is 3",
        "genetic-cfl.mutation was 0.1 and is 0.2",
        f"provenance.fingerprint was '{'0' * 64}' and is ",
        f"provenance.{ENGINE} was '1.15.0' and is ",
    ):
        assert text in err
    assert before == {path: path.read_bytes() for path in copy.glob("shards/*/*")}


@pytest.mark.parametrize(
    ("name", "value"),
    [("XLA_FLAGS", "--xla_cpu_enable_fast_math=false"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
)
def test_other_flags_of_libraries_are_refused(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    code, _, err = resume(copy.parent)
    assert (code, len(err.splitlines())) == (2, 1)
    assert re.search(f"provenance.{name} was '[^']*' and is '{value}'", err)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("seed", "seed = 0", "seed = 5"), ("strategies", '    "fedavg",\n', "")],
)
def test_another_seed_or_list_of_strategies_is_another_run(
    copy: Path, name: str, old: str, new: str
) -> None:
    edit(copy / "config.toml", old, new)
    code, _, err = resume(copy.parent)
    assert code == 2 and re.search(rf"run\.{name} was .* and is ", err)


def test_workers_and_the_place_of_the_data_may_change(
    expected: dict[str, object], copy: Path
) -> None:
    edit(copy / "config.toml", "workers = 0", "workers = 1")
    edit(copy / "config.toml", 'data_dir = ""', f'data_dir = "{copy}"')
    assert resume(copy.parent, "--quiet") == (0, "", "")
    assert comparable(copy) == expected
