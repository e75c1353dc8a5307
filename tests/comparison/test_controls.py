"""Controls as arms of a comparison: by name, by flag, resumed, and in the report."""

import re
from pathlib import Path

import pytest
from runs import comparable, play, rows

from fedgen.comparison import flow, opening, trainers
from fedgen.comparison.request import read, with_controls
from fedgen.config.tree import Arm, Config, build
from fedgen.errors import InputError
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import from_run_config, to_run_config
from fedgen.report import results
from fedgen.runs.run import Run
from fedgen.runs.watch import Watcher
from strategies import CONTROL_ARMS, VARIANTS, Named, load, parse
from strategies.core.outcomes import StrategyError
from strategies.evolution.variants import EXTENSIONS
from strategies.genetic import GeneticCFL

FURTHER = {
    "training": {"optimizer": "sgd", "local_epochs": 2},
    "genetic-cfl": {
        "eps": 0.4,
        "evolve_epochs": True,
        "evolve_momentum": True,
        "mutation_scale": "log",
        "crossover": "average",
        "migrate_every": 1,
        "fitness_window": 2,
        "weighting": "fitness",
        "models": "per-cluster",
    },
    "run": {"strategies": ["genetic-cfl", "genetic-cfl+shuffled-fitness", "fedavg"], "seeds": 1},
}


BY_IDENTITY = ("peers", "heads", "arm", "tuner", "tuner.ground", "tuner.judge", "tuner.cube")
"""What two strategies never share."""


def test_a_variant_is_its_strategy() -> None:
    for name in VARIANTS:
        assert parse(name).strategy == "genetic-cfl" and load(name) is GeneticCFL
    assert parse("fedavg") == Named("fedavg") and not parse("fedavg").changed
    with pytest.raises(KeyError, match="fedavg.x"):
        parse("fedavg+x")
    with pytest.raises(KeyError):
        load("genetic-cfl+nonsense")


@pytest.mark.parametrize("name", CONTROL_ARMS)
def test_a_control_has_the_section_s_settings_and_its_control(name: str) -> None:
    config = build({"data": {"dataset": "digits"}, "genetic-cfl": {"elites": 5, "eps": 0.7}})
    strategy = trainers.build_strategy(Arm(config, name, 0), Resources(config))
    assert isinstance(strategy, GeneticCFL)
    assert strategy.settings.control == name.partition("+")[2]
    assert (strategy.tuner.breeding.elites, strategy.settings.eps) == (5, 0.7)
    whole = trainers.build_strategy(Arm(config, "genetic-cfl", 0), Resources(config))
    assert whole.settings.control == "none"


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_changes_its_settings_and_nothing_else(name: str) -> None:
    genetic = {"elites": 5, "eps": 0.7}
    tree = {"data": {"dataset": "digits"}, "training": {"optimizer": "sgd"}, "genetic-cfl": genetic}
    config = build({**tree, "run": {"strategies": ["genetic-cfl", f"genetic-cfl+{name}"]}})
    plain, extended = config.genetics["genetic-cfl"], config.genetics[f"genetic-cfl+{name}"]
    changed = EXTENSIONS[name].settings
    assert extended == {**plain, **changed} != plain
    built = trainers.build_strategy(Arm(config, f"genetic-cfl+{name}", 0), Resources(config))
    assert isinstance(built, GeneticCFL)
    own = built.settings
    assert (own.elites, own.eps, own.control) == (5, 0.7, "none")
    section = build({**tree, "genetic-cfl": {**genetic, **changed}})
    same = trainers.build_strategy(Arm(section, "genetic-cfl", 0), Resources(section))
    assert _settings(built) == _settings(same)
    assert _settings(built) != _settings(
        trainers.build_strategy(Arm(config, "genetic-cfl", 0), Resources(config))
    )


def _settings(strategy: GeneticCFL) -> dict[str, object]:
    """What a strategy was built with, as far as it compares."""
    built = {**vars(strategy), **{f"tuner.{n}": v for n, v in vars(strategy.tuner).items()}}
    return {name: value for name, value in built.items() if name not in BY_IDENTITY}


def test_controls_are_added_behind_what_is_compared() -> None:
    named = ("run", "strategies", "genetic-cfl+no-mutation,genetic-cfl,fedavg")
    request = read(None, [named], controls=True)
    others = [name for name in CONTROL_ARMS if name != "genetic-cfl+no-mutation"]
    assert request.config.run.strategies == tuple(named[2].split(",") + others)
    assert from_run_config(to_run_config(request.config)) == request.config
    assert read(None, [named]).config.run.strategies == tuple(named[2].split(","))


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"run": {"strategies": ["fedavg"]}}, "expected genetic-cfl among .*received fedavg"),
        ({"genetic-cfl": {"control": "no-mutation"}}, "control 'none'.*received 'no-mutation'"),
    ],
)
def test_controls_need_what_they_are_compared_with(tree: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        with_controls(build(tree))


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        ({"genetic-cfl": {"control": "no-luck"}}, "genetic-cfl.control.*received 'no-luck'"),
        (
            {"pbt": {"rates": [1e-1, 1e-5]}},
            r"pbt.rates: expected the lower rate first, received \[0.1, 1e-05\]",
        ),
        ({"fedex": {"rates": [1e-1]}}, "fedex.rates"),
        ({"genetic-cfl": {"rates": [0.0, 1e-1]}}, "genetic-cfl.rates.*greater than 0"),
        ({"genetic-cfl": {"log_width": 0.0}}, "log_width.*received 0.0"),
        ({"genetic-cfl": {"fitness_window": 0}}, "fitness_window.*received 0"),
        ({"genetic-cfl": {"migrate_every": -1}}, "migrate_every.*received -1"),
        ({"genetic-cfl": {"evolve_momentum": True}}, "training.optimizer 'sgd', received 'adam'"),
        ({"run": {"strategies": ["fedavg+no-mutation"]}}, "unknown strategy"),
        (
            {"run": {"strategies": ["genetic-cfl+momentum"]}},
            r"genetic-cfl\+momentum.evolve_momentum needs training.optimizer 'sgd'",
        ),
    ],
)
def test_wrong_settings_are_one_line(tree: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as found:
        build(tree)
    assert "\n" not in str(found.value)


def test_everything_is_off_by_default() -> None:
    assert not Config().has_further_genes
    assert build({}).section_of("genetic-cfl")["control"] == "none"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return play(tmp_path_factory.mktemp("runs") / "run", **_rounds(4))


def _rounds(rounds: int) -> dict:
    return {**FURTHER, "run": {**FURTHER["run"], "rounds": rounds}}


def test_a_resumed_run_has_the_same_bytes(run: Run, tmp_path: Path) -> None:
    play(tmp_path / "run", **_rounds(2))
    with opening.resumed(tmp_path / "run", rounds=4) as (again, held):
        flow.play(again, held, Watcher())
    assert comparable(again.path) == comparable(run.path)


def test_further_genes_stand_in_their_own_columns(run: Run) -> None:
    clients = rows(run.path / "clients.csv")
    assert list(clients[0])[-3:] == ["seconds", "local_epochs", "momentum"]
    for row in clients:
        assert row["status"] == "ok"
        if row["strategy"] == "fedavg":
            assert row["local_epochs"] == row["momentum"] == ""
        else:
            assert 1 <= int(row["local_epochs"]) <= 4 and 0 <= float(row["momentum"]) <= 0.99
    assert len({row["momentum"] for row in clients}) > 6


def test_further_genes_are_drawn_where_they_evolve(run: Run, tmp_path: Path) -> None:
    drawn = results.load(run.path)
    for name, column in (("epochs", "local_epochs"), ("momentum", "momentum")):
        figure = drawn.figure(f"{name}-genetic-cfl-seed{run.config.run.seed}")
        mine = [row for row in rows(run.path / "clients.csv") if row["strategy"] == "genetic-cfl"]
        shown = sorted((x, y) for line in figure.data for x, y in zip(line.x, line.y, strict=True))
        assert shown == sorted((int(row["round"]), float(row[column])) for row in mine)
        assert figure.layout.yaxis.type != "log"
    assert not [name for name in drawn.charts if name.startswith(("epochs-fedavg", "momentum-f"))]
    plain = play(tmp_path / "plain", run={"rounds": 1, "seeds": 1})
    names = list(results.load(plain.path).charts)
    assert "rates-genetic-cfl-seed0" in names and "epochs-genetic-cfl-seed0" not in names


def test_client_epochs_are_counted_as_trained(run: Run) -> None:
    clients, rounds = rows(run.path / "clients.csv"), rows(run.path / "rounds.csv")
    for row in rounds:
        mine = [c for c in clients if all(c[k] == row[k] for k in ("strategy", "seed", "round"))]
        epochs = sum(int(c["local_epochs"] or 2) for c in mine)
        assert int(row["client_epochs"]) == epochs
        assert int(row["samples"]) == sum(int(c["samples"]) for c in mine)
    assert len({row["client_epochs"] for row in rounds}) > 2


def test_arms_start_from_the_same_genes_and_weights(run: Run) -> None:
    first = [r for r in rows(run.path / "clients.csv") if r["round"] == "1"]
    genes = ("client", "learning_rate", "batch_size", "local_epochs", "momentum", "fitness")
    whole, control = (
        [[row[key] for key in genes] for row in first if row["strategy"] == name]
        for name in ("genetic-cfl", "genetic-cfl+shuffled-fitness")
    )
    assert whole == control
    page = (run.path / "report.html").read_text()
    assert "genetic-cfl+shuffled-fitness" in page and "takes the mean of clients" in page


@pytest.mark.parametrize(
    ("name", "settings", "received"),
    [
        ("genetic-cfl", {"aggregation": {"kind": "median"}}, "'median' and 'none'"),
        ("genetic-cfl", {"privacy": {"kind": "central"}}, "'mean' and 'central'"),
        ("genetic-cfl+cluster-models", {"aggregation": {"kind": "median"}}, "'median' and 'none'"),
    ],
)
def test_models_of_clusters_are_averaged_by_weight_without_central_noise(
    name: str, settings: dict, received: str
) -> None:
    tree = {"data": {"dataset": "digits"}, "genetic-cfl": {"models": "per-cluster"}, **settings}
    held = Resources(build({**tree, "run": {"strategies": [name]}}))
    reason = rf"{re.escape(name)}.models 'per-cluster' needs .*received {received}"
    with pytest.raises(StrategyError, match=reason):
        trainers.check_strategy(Arm(held.config, name, 0), held)
