"""What names of strategies, variants and pairs stand for, and which are refused."""

import pytest

import strategies
from fedgen.comparison import trainers
from fedgen.config.sections.run import wrong_name
from fedgen.config.tree import build
from fedgen.errors import InputError
from strategies.fedavg import FedAvg
from strategies.names import (
    CHANGES,
    SELF_CHOOSING,
    TUNERS,
    Named,
    parse,
    why_not,
    with_settings,
    without_settings,
)
from strategies.trials import Searched

BEHIND = [name for name in strategies.REGISTRY if name not in TUNERS and name not in SELF_CHOOSING]


@pytest.mark.parametrize(
    ("name", "stands_for"),
    [
        ("fedavg", Named("fedavg")),
        ("my.module:Own", Named("my.module:Own")),
        ("pbt/scaffold", Named("scaffold", "pbt")),
        ("genetic-cfl/my.module:Own", Named("my.module:Own", "genetic-cfl")),
        ("genetic-cfl+probe", Named("genetic-cfl", "", {"init": "probe"})),
        (
            "genetic-cfl+probe+momentum/fedavgm",
            Named("fedavgm", "genetic-cfl", {"init": "probe", "evolve_momentum": True}),
        ),
        ("genetic-cfl+halving", Named("genetic-cfl", "", {"move": "halving", "move_every": 3})),
        ("fedavg@1e-3", Named("fedavg", "", {"learning_rate": 0.001})),
        ("my.module:Own@share=0.5", Named("my.module:Own", "", {"share": 0.5})),
        (
            "fedex@schedule=constant@rates=[1e-3,1]/fedprox@mu=1@0.1",
            Named(
                *("fedprox", "fedex"),
                {"schedule": "constant", "rates": [0.001, 1]},
                {"mu": 1, "learning_rate": 0.1},
            ),
        ),
        (
            "genetic-cfl+probe@evolve_epochs=true",
            Named("genetic-cfl", "", {"init": "probe", "evolve_epochs": True}),
        ),
    ],
)
def test_a_name_by_hand(name: str, stands_for: Named) -> None:
    assert parse(name) == stands_for
    assert stands_for.section == (stands_for.tuner or stands_for.strategy)
    assert bool(stands_for.changed) == ("+" in name or "@" in name)


def test_settings_are_put_into_a_name_and_taken_out_of_it() -> None:
    settings = {"rates": [0.001, 1.0], "schedule": "constant", "evolve": True}
    name = with_settings("fedex/fedprox", "fedex", settings)
    assert name == "fedex@rates=[0.001,1.0]@schedule=constant@evolve=true/fedprox"
    assert parse(name) == Named("fedprox", "fedex", settings)
    both = with_settings(name, "fedprox", {"mu": "0.5"})
    assert both == f"{name}@mu=0.5" and parse(both).trained == {"mu": 0.5}
    assert without_settings(both) == "fedex/fedprox" == without_settings("fedex/fedprox")


@pytest.mark.parametrize("name", CHANGES)
def test_variants_may_follow_one_another(name: str) -> None:
    other = "fitness-weights" if name != "fitness-weights" else "migration"
    both = {**CHANGES[other], **CHANGES[name]}
    for order in (f"{name}+{other}", f"{other}+{name}"):
        assert parse(f"genetic-cfl+{order}/fedprox").changed == both


def test_all_pairs_of_a_tuner_and_a_strategy_are_taken() -> None:
    for tuner in TUNERS:
        for name in BEHIND:
            assert why_not(parse(f"{tuner}/{name}")) is None
            assert wrong_name(f"{tuner}/{name}") is None
            assert strategies.load(f"{tuner}/{name}") is strategies.load(name)
            assert strategies.tuner(f"{tuner}/{name}") is strategies.load(tuner).own_tuner
        assert wrong_name(f"{tuner}/my.module:Own") is None


REFUSED = [
    *((f"{t}/{s}", f"{t} cannot choose for {s}: it has a tuner") for t in TUNERS for s in TUNERS),
    *((f"genetic-cfl/{s}", f"for {s}: {why}") for s, why in SELF_CHOOSING.items()),
    *((f"{s}/fedavg", f"{s} chooses no hyperparameters, expected genetic-cfl, ") for s in BEHIND),
    ("fedavg-tuned/fedavg", "fedavg-tuned chooses no hyperparameters"),
    ("centralised/fedavg", "centralised chooses no hyperparameters"),
    ("pbt/centralised", "pbt cannot choose for centralised: it has no clients"),
    ("genetic-clf/fedavg", "unknown strategy 'genetic-clf': did you mean 'genetic-cfl'?"),
    ("genetic-cfl/fedvag", "unknown strategy 'fedvag': did you mean 'fedavg'?"),
    ("genetic-cfl+prob/fedavg", "'genetic-cfl+prob': did you mean 'genetic-cfl+probe'?"),
    ("genetic-cfl/fedavg+probe", "stand before the slash: expected genetic-cfl+probe/fedavg"),
    ("pbt+probe/fedavg", "unknown strategy 'pbt+probe': did you mean"),
    ("genetic-cfl+probe+rate-grid", "genetic-cfl+probe+rate-grid: two of its variants set init"),
    ("genetic-cfl+probe+probe/fedavg", "two of its variants set init"),
    ("genetic-cfl+no-mutation+one-cluster", "two of its variants set control"),
    ("genetic-cfl+window+", "unknown strategy 'genetic-cfl+window+'"),
    ("my.module:Own/fedavg", "unknown strategy 'my.module:Own'"),
    ("genetic-cfl/", "unknown strategy ''"),
    ("/fedavg", "unknown strategy ''"),
    (
        "fedavg@",
        "fedavg@: expected a learning rate or SETTING=VALUE after the @, as in fedavg@1e-3",
    ),
    ("fedavg@=1", "expected a learning rate or SETTING=VALUE after the @, as in fedavg@1e-3"),
    ("fedavg@mu=", "expected a learning rate or SETTING=VALUE after the @, as in fedavg@1e-3"),
    ("fedavg@1@learning_rate=2", "fedavg@1@learning_rate=2: learning_rate is given twice"),
    ("pbt/fedavg@1@2", "learning_rate is given twice"),
    ("genetic-cfl+probe@init=grid", "genetic-cfl+probe sets init, expected another setting after"),
    ("fedvag@1", "unknown strategy 'fedvag': did you mean 'fedavg'?"),
    ("pbt/genetic-cfl/fedavg", "unknown strategy 'genetic-cfl/fedavg'"),
]


@pytest.mark.parametrize(("name", "why"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_is_no_name_is_one_line(name: str, why: str) -> None:
    with pytest.raises(InputError) as error:
        build({"run": {"strategies": [name]}})
    assert why in error.value.line and "\n" not in error.value.line
    assert error.value.exit_code == 2


def test_the_names_agree_with_the_classes() -> None:
    classes = {name: strategies.load(name) for name in strategies.REGISTRY}
    assert {name for name, kind in classes.items() if kind.own_tuner is not None} == set(TUNERS)
    choosing = {
        name
        for name, kind in classes.items()
        if name not in TUNERS and (kind.assign is not FedAvg.assign or issubclass(kind, Searched))
    }
    assert choosing == set(SELF_CHOOSING)


class Choosing(FedAvg):
    """One's own that chooses in every round."""

    def assign(self, server_round: int, cohort: list[int]) -> dict:
        return super().assign(server_round, cohort)


class Searching(Searched):
    """One's own that searches first."""


@pytest.mark.parametrize("kind", [Choosing, Searching, strategies.load("pbt")])
def test_no_tuner_goes_over_one_s_own_that_chooses(kind: type[FedAvg]) -> None:
    with pytest.raises(InputError, match="^pbt cannot choose for me:X: it chooses hyperparameters"):
        trainers.tuned_by(Named("me:X", "pbt"), kind, {}, {})
