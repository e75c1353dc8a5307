"""Simulated devices: speeds, the time of a round, and who is too slow for it."""

from pathlib import Path

import numpy as np
import pytest
from runs import play, rows

from fedgen.config.sections import Devices
from fedgen.errors import InputError
from fedgen.federation import devices
from fedgen.federation.resources import Resources
from fedgen.report import pages, results
from fedgen.runs.run import Run
from strategies.core.hyperparameters import Assignment, Genome
from strategies.core.outcomes import OK, ClientOutcome, RoundOutcome, Update

LOGNORMAL = Devices(speed="lognormal", samples_per_second=200.0, sigma=0.8)
UNIFORM = Devices(speed="uniform", samples_per_second=200.0, spread=0.25)
ASSIGNED = Assignment(Genome(1e-4, 32), "fixed")


def trained(client: int, samples: int) -> ClientOutcome:
    update = Update([], ASSIGNED.genome, 0.0, 0.0, samples, samples, 1, 0.0)
    return ClientOutcome(client, ASSIGNED, OK, update)


def steady(**more: float) -> Devices:
    """Every device trains 50 samples a second."""
    return Devices(speed="uniform", samples_per_second=50.0, spread=0.0, **more)


def test_speeds_are_distributed_as_asked_for() -> None:
    logs = np.log([devices.speed(LOGNORMAL, 0, client) / 200 for client in range(2000)])
    assert abs(logs.mean()) < 4 * 0.8 / 2000**0.5 and logs.std() == pytest.approx(0.8, rel=0.06)
    speeds = np.array([devices.speed(UNIFORM, 0, client) for client in range(2000)])
    assert 150 <= speeds.min() < 151 and 249 < speeds.max() <= 250
    assert abs(speeds.mean() - 200) < 4 * 100 / 12**0.5 / 2000**0.5


def test_a_client_keeps_its_speed_and_seeds_differ() -> None:
    assert devices.speed(LOGNORMAL, 3, 5) == devices.speed(LOGNORMAL, 3, 5)
    assert len({devices.speed(LOGNORMAL, seed, c) for seed in (0, 1) for c in (0, 1)}) == 4


def test_a_round_takes_as_long_as_its_slowest_client() -> None:
    """200 and 300 samples at 50 a second: 4 and 6 seconds."""
    outcome = RoundOutcome((trained(0, 200), trained(1, 300)))
    assert devices.round_seconds(steady(), 0, outcome) == 6.0
    assert devices.round_seconds(Devices(), 0, outcome) is None
    assert devices.round_seconds(steady(), 0, RoundOutcome()) == 0.0
    in_turn = RoundOutcome((trained(0, 200), trained(1, 300)), in_turn=True)
    assert devices.round_seconds(steady(), 0, in_turn) == 10.0


def test_what_a_client_trains_in_several_steps_adds_up() -> None:
    outcome = RoundOutcome((trained(0, 200), trained(1, 300), trained(0, 200)))
    assert devices.round_seconds(steady(), 0, outcome) == 8.0


def test_a_failed_client_is_waited_for_until_the_deadline() -> None:
    late = ClientOutcome(2, ASSIGNED, "failed: no reply in time")
    refused = ClientOutcome(3, ASSIGNED, "rejected: weights are not finite")
    outcome = RoundOutcome((trained(0, 200), late))
    assert devices.round_seconds(steady(), 0, outcome) == 4.0
    assert devices.round_seconds(steady(deadline=9.0), 0, outcome) == 9.0
    used = RoundOutcome((trained(0, 200), refused))
    assert devices.round_seconds(steady(deadline=9.0), 0, used) == 4.0
    in_turn = RoundOutcome((trained(0, 200), late, late), in_turn=True)
    assert devices.round_seconds(steady(deadline=9.0), 0, in_turn) == 22.0


def test_a_deadline_needs_devices() -> None:
    with pytest.raises(ValueError, match="deadline: expected 0 without simulated devices"):
        Devices(deadline=3.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return play(
        tmp_path_factory.mktemp("runs") / "run",
        devices={"speed": "lognormal", "samples_per_second": 50.0},
        run={"rounds": 2, "strategies": ["genetic-cfl", "fedavg", "centralised"]},
        **{"genetic-cfl": {"init": "probe"}},
    )


def test_rounds_have_the_time_of_their_slowest_client_probes_included(run: Run) -> None:
    clients = rows(run.path / "clients.csv")
    settings = run.config.devices
    for row in rows(run.path / "rounds.csv"):
        if row["strategy"] == "centralised":
            assert row["simulated_seconds"] == ""
            continue
        mine = [
            c for c in clients if (c["strategy"], c["round"]) == (row["strategy"], row["round"])
        ]
        times = [int(c["samples"]) / devices.speed(settings, 0, int(c["client"])) for c in mine]
        assert float(row["simulated_seconds"]) == max(times, default=0.0)
    zero = [row for row in rows(run.path / "rounds.csv") if row["round"] == "0"]
    assert float(zero[0]["simulated_seconds"]) > 0 == float(zero[1]["simulated_seconds"])


def test_curves_can_be_drawn_against_simulated_seconds(run: Run, tmp_path: Path) -> None:
    whole = results.load(run.path)
    figure = whole.figure("accuracy", axis="simulated-seconds")
    federated, pooled = figure.data[1], figure.data[2]
    times = [float(row.simulated_seconds or 0) for row in whole.arms["fedavg"][0]]
    assert list(federated.x) == pytest.approx(np.cumsum(times).tolist())
    assert list(pooled.x) == [None] * 3
    page = pages.one(whole)
    assert 'value="simulated-seconds"' in page and ">simulated seconds</th>" in page
    spent = whole.summary["strategies"]["fedavg"]["simulated_seconds"]["values"]
    assert spent == [pytest.approx(sum(times))]


def test_without_devices_there_is_no_such_axis(tmp_path: Path) -> None:
    whole = results.load(play(tmp_path / "run", run={"rounds": 1}).path)
    with pytest.raises(InputError, match="unknown axis"):
        whole.figure("accuracy", axis="simulated-seconds")
    page = pages.one(whole)
    assert "simulated-seconds" not in page and ">simulated seconds</th>" not in page
    assert "simulated_seconds" not in whole.summary["strategies"]["fedavg"]
    assert "simulated_seconds" not in rows(whole.path / "rounds.csv")[0]


def test_who_is_too_slow_fails_without_training_and_the_round_lasts_until_then(
    tmp_path: Path,
) -> None:
    speeds = {"speed": "lognormal", "samples_per_second": 100.0, "sigma": 0.5}
    free = play(tmp_path / "free", devices=speeds, run={"rounds": 2, "strategies": ["fedavg"]})
    sizes = [len(shard.train) for shard in Resources(free.config).partition(0).clients]
    cohort = sorted({int(row["client"]) for row in rows(free.path / "clients.csv")})
    time = {c: sizes[c] / devices.speed(free.config.devices, 0, c) for c in cohort}
    *_, second, slowest = sorted(time.values())
    deadline = round((second + slowest) / 2, 3)
    slow = play(
        tmp_path / "slow",
        devices={**speeds, "deadline": deadline},
        run={"rounds": 2, "strategies": ["fedavg"]},
    )
    for row in rows(slow.path / "clients.csv"):
        late = time[int(row["client"])] > deadline
        assert (row["status"] != "ok") == late
        assert not late or "simulated seconds, beyond the deadline" in row["status"]
    lasted = [row["simulated_seconds"] for row in rows(slow.path / "rounds.csv")]
    assert lasted == ["0.0", str(deadline), str(deadline)]
    assert {row["failed"] for row in rows(slow.path / "rounds.csv")[1:]} == {"1"}
