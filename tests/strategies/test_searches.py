"""Optuna's searches before FedAvg: what they play, what they choose, and what they cost."""

import math
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import optuna
import pytest
import toy
from flwr.app import Message
from optuna.trial import TrialState

from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import RoundOutcome, StrategyError, Unusable
from strategies.searches import OptunaASHA, OptunaSearch, OptunaTPE

CLIENTS = 4
KINDS = (OptunaTPE, OptunaASHA)
Kind = type[OptunaSearch]


def built(kind: Kind, **settings: object) -> OptunaSearch:
    return kind(**{"seed": 2, "clients": CLIENTS, "fraction": 1.0, **settings})


def score(pair: Genome, clients: int = CLIENTS) -> float:
    """The mean of the toy clients' losses by samples."""
    sizes = [toy.examples(client) for client in range(clients)]
    losses = [toy.loss(client, pair) for client in range(clients)]
    return math.fsum(n * x for n, x in zip(sizes, losses, strict=True)) / sum(sizes)


def searched(
    strategy: OptunaSearch, clients: int = CLIENTS, faults: dict[int, toy.Fault] | None = None
) -> list[tuple[Genome, int]]:
    """Play a strategy's search: the pairs that clients trained with, and how many rounds each."""
    tried: list[tuple[Genome, int]] = []
    with toy.toy_grid(clients, faults or {}) as grid:
        send: Callable[..., Iterable[Message]] = grid.send_and_receive

        def noted(messages: Iterable[Message], **settings: Any) -> Iterable[Message]:
            sent = list(messages)
            if sent[0].metadata.message_type == "train":
                (pair,) = set(toy.sent_genomes(sent).values())
                number = sent[0].content["config"]["server-round"]
                if number == 1:
                    tried.append((pair, 0))
                    assert all(toy.as_bytes(m.content["arrays"]) == initial for m in sent)
                assert tried[-1] == (pair, number - 1), "a trial at a time, and its rounds in order"
                tried[-1] = pair, number
            return send(sent, **settings)

        grid.send_and_receive = noted  # type: ignore[assignment, method-assign]
        start = toy.start()
        initial = toy.as_bytes(start)
        assert strategy.initialise(grid, start) is start
        assert toy.as_bytes(start) == initial
    return tried


def halved(losses: list[float], most: int, reduction: int) -> list[int]:
    """The rounds of every trial by Li et al.'s rule, trials coming one after another."""
    at_rung: dict[int, list[float]] = {}
    played = []
    for loss in losses:
        rounds = 1
        while rounds < most:
            met = at_rung.setdefault(rounds, [])
            met.append(loss)
            if loss > sorted(met)[max(1, len(met) // reduction) - 1]:
                break
            rounds = min(most, rounds * reduction)
        played.append(rounds)
    return played


def too_fast(weights: toy.Weights, metrics: toy.Metrics) -> None:
    if metrics["learning-rate"] > 1e-3:
        weights[0][:] = np.nan


FAULTS = dict.fromkeys(range(CLIENTS), too_fast)


@pytest.mark.parametrize(("trials", "rounds", "epochs"), [(24, 1, 1), (3, 2, 3)])
def test_tpe_plays_every_trial_to_its_end(trials: int, rounds: int, epochs: int) -> None:
    strategy = built(OptunaTPE, trials=trials, search_rounds=rounds, search_epochs=epochs)
    tried = searched(strategy)
    assert [played for _, played in tried] == [rounds] * trials
    assert strategy.outcome.client_epochs == trials * rounds * epochs * CLIENTS


def test_tpe_draws_where_good_pairs_are_once_it_has_drawn_ten() -> None:
    scores = [score(pair) for pair, _ in searched(built(OptunaTPE))]
    assert np.mean(scores[10:]) < 0.7 * np.mean(scores[:10])
    assert min(scores[10:]) < min(scores[:10])


@pytest.mark.parametrize(
    ("trials", "most", "reduction"), [(9, 6, 3), (30, 9, 3), (20, 8, 2), (12, 30, 5), (4, 1, 3)]
)
def test_asha_stops_trials_by_the_rule_of_the_paper(trials: int, most: int, reduction: int) -> None:
    strategy = built(OptunaASHA, trials=trials, max_rounds=most, reduction=reduction)
    tried = searched(strategy)
    assert [n for _, n in tried] == halved([score(pair) for pair, _ in tried], most, reduction)
    assert tried[0][1] == most
    assert strategy.outcome.client_epochs == CLIENTS * sum(n for _, n in tried)
    if trials == 30:
        assert {n for _, n in tried} == {1, 3, 9}


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_pair_is_chosen_and_everybody_trains_with_it(kind: Kind) -> None:
    strategy = built(kind)
    pairs = [pair for pair, _ in searched(strategy)]
    assert strategy.genome == min(pairs, key=score)
    assert len(set(pairs)) == len(pairs)
    with toy.toy_grid(CLIENTS) as grid:
        _, sent = toy.play_round(strategy, grid, 1, toy.start())
    assert set(sent.values()) == {strategy.genome}


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_search_is_counted(kind: Kind) -> None:
    strategy = built(kind)
    rounds = sum(played for _, played in searched(strategy))
    outcome = strategy.outcome
    assert [(o.client, o.status) for o in outcome.clients] == [(c, "ok") for c in range(CLIENTS)]
    assert outcome.samples == rounds * sum(map(toy.examples, range(CLIENTS)))
    weights = sum(array.nbytes for array in toy.start().to_numpy_ndarrays())
    assert outcome.bytes_down > rounds * CLIENTS * weights < outcome.bytes_up


def test_by_default_a_search_costs_about_what_that_of_fedavg_tuned_does() -> None:
    """That is 8 pairs one round, 4 two more, 2 four more: 24 epochs a client."""
    assert len(searched(built(OptunaTPE, clients=1), 1)) == 24
    costs = []
    for seed in range(60):
        strategy = built(OptunaASHA, clients=1, seed=seed)
        costs.append(sum(played for _, played in searched(strategy, 1)))
    assert np.mean(costs) == pytest.approx(24, abs=2)
    assert 12 <= min(costs) and max(costs) <= 48


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_the_same_pairs_again(kind: Kind) -> None:
    first, again = built(kind), built(kind)
    tried = searched(first)
    assert tried == searched(again)
    assert tried != searched(built(kind, seed=3))
    assert (first.state(), first.outcome.bytes_up) == (again.state(), again.outcome.bytes_up)


def test_pairs_that_are_drawn_at_random_are_the_same_for_both() -> None:
    tpe, asha = (searched(built(kind, trials=10)) for kind in KINDS)
    assert [pair for pair, _ in tpe] == [pair for pair, _ in asha]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_are_drawn_from_the_ranges_that_are_set(kind: Kind) -> None:
    pairs = [pair for pair, _ in searched(built(kind, trials=40))]
    assert all(1e-5 <= p.learning_rate <= 1e-2 and 16 <= p.batch_size <= 128 for p in pairs)
    assert {type(pair.batch_size) for pair in pairs} == {int}
    narrow = searched(built(kind, rate_range=(0.5, 2.0), batch_range=(8, 8)))
    assert all(0.5 <= p.learning_rate <= 2 and p.batch_size == 8 for p, _ in narrow)
    point = built(kind, trials=3, rate_range=(0.5, 0.5), batch_range=(8, 8))
    assert {pair for pair, _ in searched(point)} == {Genome(0.5, 8)} == {point.genome}


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_begins_with_its_lower_end(kind: Kind) -> None:
    with pytest.raises(ValueError, match=r"batch_range: expected the lower end first.*\[9, 8\]"):
        kind.Settings(batch_range=(9, 8))


@pytest.mark.parametrize(
    ("kind", "settings"), [(OptunaTPE, {"search_rounds": 3}), (OptunaASHA, {"trials": 20})]
)
def test_a_trial_that_fails_ends_and_is_told_as_infinitely_bad(
    kind: Kind, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies: list[optuna.Study] = []
    study = kind.study
    monkeypatch.setattr(
        kind, "study", lambda self, seed: studies.append(study(self, seed)) or studies[-1]
    )
    strategy = built(kind, **settings)
    tried = searched(strategy, faults=FAULTS)
    fast = [pair.learning_rate > 1e-3 for pair, _ in tried]
    assert any(fast) and not all(fast)
    assert all(played == 1 for (_, played), failed in zip(tried, fast, strict=True) if failed)
    told = studies[0].trials
    assert [trial.params["learning_rate"] for trial in told] == [p.learning_rate for p, _ in tried]
    assert [math.isinf(trial.intermediate_values[1]) for trial in told] == fast
    assert {trial.state for trial in told} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert {o.status for o in strategy.outcome.clients} == {"ok"}
    assert strategy.genome == min((p for p, _ in tried if p.learning_rate <= 1e-3), key=score)
    works = sum(played for (_, played), failed in zip(tried, fast, strict=True) if not failed)
    assert strategy.outcome.client_epochs == works * CLIENTS
    if kind is OptunaTPE:
        assert np.mean(fast[10:]) < np.mean(fast[:10]), "it draws elsewhere"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "why"),
    [(too_fast, "weights are not finite"), (toy.report_infinite_fitness, "losses are not finite")],
)
def test_without_a_pair_that_trains_the_run_ends_with_the_reason(
    kind: Kind, fault: toy.Fault, why: str
) -> None:
    strategy = built(kind, trials=12, rate_range=(2e-3, 1e-1))
    with pytest.raises(Unusable, match=f"none of the 12 pairs can be trained: .*{why}") as error:
        searched(strategy, faults=dict.fromkeys(range(CLIENTS), fault))
    assert isinstance(error.value.outcome, RoundOutcome) and len(error.value.outcome.clients) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_optuna_says_nothing_and_its_log_is_as_loud_as_before(
    kind: Kind, capfd: pytest.CaptureFixture[str]
) -> None:
    for level in (optuna.logging.DEBUG, optuna.logging.ERROR):
        optuna.logging.set_verbosity(level)
        try:
            searched(built(kind), faults=FAULTS)
            assert optuna.logging.get_verbosity() == level
        finally:
            optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
def test_without_optuna_it_is_not_built(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(StrategyError, match=r"^mine: optuna is missing .*'fedgen\[optuna\]'$"):
        built(kind, arm="mine")
