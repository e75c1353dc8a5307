"""Signs of life: what a run says in its directory while it is played."""

import json
import math
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import FLAGS, play, start, wait_for_line
from shards import round_row

from fedgen.config.tree import Arm, build
from fedgen.runs.run import open_run
from fedgen.runs.watch import NOW, OFTEN, Sign, Signs, forget, sign

ARM = Arm(build({"data": {"dataset": "digits"}, "model": {"name": "mlp"}}), "fedavg", 0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where an arm's sign is."""
    folder = tmp_path / "shards" / ARM.name
    folder.mkdir(parents=True)
    return folder / NOW


def test_a_sign_follows_the_cohort_and_is_gone_at_the_end(tmp_path: Path, place: Path) -> None:
    before = time.time()
    with Signs(tmp_path) as signs:
        signs.begin("seed 0", [ARM], [3])
        first = sign(tmp_path, ARM)
        assert first is not None and before <= first.began == first.at <= time.time()
        assert (first.latest, first.told, first.done, first.asked) == (first.began, 0, 0, 0)
        signs.answered(ARM, 1, 4)
        assert sign(tmp_path, ARM) == first, f"within {OFTEN} seconds nothing is written"
        time.sleep(OFTEN)
        signs.answered(ARM, 2, 4)
        later = sign(tmp_path, ARM)
        assert later is not None and (later.done, later.asked) == (2, 4)
        assert first.began == later.began == later.latest < later.at
        signs.played(replace(round_row(4), seconds=2.5))
        signs.played(replace(round_row(5), seconds=1.5))
        signs.played(round_row(5, seed=1))  # another arm's
        last = sign(tmp_path, ARM)
        assert last is not None and (last.told, last.done, last.asked) == (4.0, 0, 0)
        assert last.began < last.latest == last.at
    assert list(place.parent.iterdir()) == [] and sign(tmp_path, ARM) is None


def test_arms_that_are_played_at_once_are_taken_up_one_by_one(tmp_path: Path) -> None:
    other = replace(ARM, seed=1)
    for arm in (ARM, other):
        (tmp_path / "shards" / arm.name).mkdir(parents=True)
    with Signs(tmp_path) as signs:
        signs.begin("seed 0", [ARM, other], [0, 0], at_once=2)
        assert sign(tmp_path, ARM) is None
        signs.started(ARM)
        time.sleep(0.01)
        signs.started(other)
        first, second = sign(tmp_path, ARM), sign(tmp_path, other)
        assert first is not None and second is not None and first.began < second.began
        signs.started(ARM)
        assert sign(tmp_path, ARM) == first


WHOLE = {"began": 1.0, "latest": 2.0, "told": 0.5, "done": 1, "asked": 2, "at": 3.0}
WRONG: list[dict[str, Any]] = [
    *({name: "7"} for name in WHOLE),
    *({name: -1} for name in WHOLE),
    *({name: math.inf} for name in WHOLE),
    *({name: math.nan} for name in WHOLE),
    *({name: 10**400} for name in WHOLE),
    {"more": 1},
    {"began": 2.5},
    {"latest": 3.5},
    {"asked": 1.5},
]


def test_a_whole_sign_is_one(tmp_path: Path, place: Path) -> None:
    place.write_text(json.dumps(WHOLE))
    assert sign(tmp_path, ARM) == Sign(**WHOLE)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"{}", b"\xff\xfe", b"[" * 100_000]
    + [json.dumps(WHOLE | wrong).encode() for wrong in WRONG],
)
def test_what_is_no_sign_is_none(tmp_path: Path, place: Path, content: bytes) -> None:
    place.write_bytes(content)
    assert sign(tmp_path, ARM) is None


def test_a_sign_that_cannot_be_written_ends_nothing_and_signs_say_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Signs(tmp_path) as signs:  # there is no such shard
        signs.warn("for who watches")
        signs.ended(ARM, "for who watches")
        signs.begin("seed 0", [ARM], [-1])
        signs.answered(ARM, 4, 4)
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr() == ("", "")


def test_a_run_that_is_played_gives_signs_and_leaves_none(tmp_path: Path) -> None:
    told: list[Any] = []
    said = Signs._say

    def listen(self: Signs, arm: Arm, now: Any) -> None:
        said(self, arm, now)
        told.append((arm.name, sign(tmp_path / "run", arm)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Signs, "_say", listen)
        play(tmp_path / "run", run={"rounds": 1, "strategies": ["fedavg", "genetic-cfl"]})
    assert {name for name, _ in told} == {"fedavg-seed0", "genetic-cfl-seed0"}
    assert max(found.told for _, found in told) > 0
    assert not list((tmp_path / "run").rglob(NOW))


def test_a_killed_run_leaves_a_sign_that_the_next_one_takes_over(tmp_path: Path) -> None:
    more = ["--rounds=200", "--strategies=fedavg", "--out=run"]
    process = start(["compare", *FLAGS, *more], tmp_path)
    wait_for_line(process, "2 ")
    process.kill()
    process.communicate()
    (arm,) = open_run(tmp_path / "run").arms
    left = sign(tmp_path / "run", arm)
    assert left is not None and left.latest > left.began
    process = start(["resume", "run"], tmp_path)
    while (taken := sign(tmp_path / "run", arm)) == left:
        assert process.poll() is None
        time.sleep(0.05)
    assert taken is None or taken.began > left.at
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert not list((tmp_path / "run").rglob(NOW)), "interrupted, it is gone"


def test_what_killed_processes_have_left_is_forgotten(tmp_path: Path, place: Path) -> None:
    place.write_text(json.dumps(WHOLE))
    forget(tmp_path, [ARM])
    forget(tmp_path, [ARM])  # and what is not there as well
    assert sign(tmp_path, ARM) is None
