"""Killed, interrupted and extended runs end with the bytes of one that was left alone."""

import signal
import time
from pathlib import Path

import pytest
from runs import FLAGS, comparable, finish, play, rows, start, wait_for_file, wait_for_line

from fedgen.run import Run

ROUNDS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("runs") / "whole"
    strategies = ["genetic-cfl", "fedavg", "centralised"]
    return play(out, run={"rounds": ROUNDS, "strategies": strategies})


def compare_arguments(rounds: int) -> list[str]:
    strategies = "--strategies=genetic-cfl,fedavg,centralised"
    return ["compare", *FLAGS, f"--rounds={rounds}", strategies, "--out=run"]


def test_a_run_killed_between_checkpoints_resumes_to_the_same_bytes(
    whole: Run, tmp_path: Path
) -> None:
    process = start(compare_arguments(ROUNDS), tmp_path)
    wait_for_line(process, "2 ")
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "rounds.csv").exists()
    code, _, err = finish(start(["resume", "run", "--quiet"], tmp_path))
    assert (code, err) == (0, "")
    assert comparable(tmp_path / "run") == comparable(whole.path)


def test_a_run_killed_before_its_first_checkpoint_resumes(whole: Run, tmp_path: Path) -> None:
    process = start(compare_arguments(ROUNDS), tmp_path)
    wait_for_file(tmp_path / "run" / "config.toml", process)
    process.kill()
    process.communicate()
    assert not list((tmp_path / "run").glob("shards/*/checkpoint.npz"))
    code, _, _ = finish(start(["resume", "run", "--quiet", "--workers=1"], tmp_path))
    assert code == 0
    assert comparable(tmp_path / "run") == comparable(whole.path)


def test_more_rounds_extend_a_finished_run(whole: Run, tmp_path: Path) -> None:
    strategies = ["genetic-cfl", "fedavg", "centralised"]
    play(tmp_path / "run", run={"rounds": 2, "strategies": strategies})
    code, out, _ = finish(start(["resume", "run", f"--rounds={ROUNDS}"], tmp_path))
    assert code == 0 and "already finished" not in out
    assert comparable(tmp_path / "run") == comparable(whole.path)
    code, out, _ = finish(start(["resume", "run"], tmp_path))
    assert code == 0 and "already finished" in out
    assert comparable(tmp_path / "run") == comparable(whole.path)
    code, _, err = finish(start(["resume", "run", "--rounds=1"], tmp_path))
    assert code == 2 and "--rounds 1" in err and len(err.splitlines()) == 1


def test_ctrl_c_keeps_finished_rounds_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = start(compare_arguments(10_000), tmp_path)
    wait_for_line(process, "3 ")
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert time.monotonic() - asked < 2
    assert code == 130
    assert err == "interrupted; every finished round is kept. Go on with: " + (
        "python -m fedgen resume run\n"
    )
    kept = [int(r["round"]) for r in rows(tmp_path / "run" / "rounds.csv")]
    assert kept.count(3) == 3


def test_ctrl_c_does_not_wait_for_a_long_client(tmp_path: Path) -> None:
    long = ["--dataset=digits", "--clients=4", "--fraction=1", "--set=training.local_epochs=5000"]
    process = start(["compare", *long, "--rounds=1", "--out=run"], tmp_path)
    wait_for_line(process, "0 ")
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert time.monotonic() - asked < 2
    assert code == 130 and "resume run" in err


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    play(tmp_path / "run", run={"rounds": 1, "strategies": ["fedavg"]})
    config = tmp_path / "run" / "config.toml"
    text = config.read_text()
    fingerprint = text.split('fingerprint = "')[1][:64]
    config.write_text(text.replace(fingerprint, "0" * 64))
    code, _, err = finish(start(["resume", "run"], tmp_path))
    assert code == 2 and "fingerprint" in err and len(err.splitlines()) == 1
