"""What a private run may claim: epsilon, or why there is none."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import strategies
from fedgen.config.plugins import is_own
from fedgen.config.sections import is_pooled
from fedgen.config.tree import Config
from fedgen.runs.rows import RoundRow
from strategies.core.cohort import cohort_size


@dataclass(frozen=True)
class Spending:
    """The privacy that an arm has spent, or several arms together.

    Attributes:
        noise_multiplier: Noise in units of the clip norm.
        delta: Probability that epsilon does not hold.
        epsilon: The bound, ``None`` where nothing can be claimed.
        note: What epsilon is of, or why there is none.
    """

    noise_multiplier: float
    delta: float
    epsilon: float | None
    note: str


def spent(config: Config, strategy: str, rows: Sequence[RoundRow]) -> Spending:
    """Account for one arm of one seed, alone, of a run whose ``privacy.kind`` is not ``"none"``.

    Renyi accounting of the Gaussian mechanism (Mironov, 2017, arXiv 1702.07476) by Flower's
    ``RdpAccountant``, that is by ``dp-accounting``.

    Central, one cohort for all rounds: as many releases as rounds, no amplification, adjacent
    by one client's update being zero, the number of clients being fixed and public.
    Central, a cohort drawn anew each round: sampled without replacement (Wang et al., 2019,
    arXiv 1808.00087), adjacent by replacing one client, which moves a clipped sum by
    twice the norm, so with half the noise multiplier. Local: what the server can tell of two
    updates of one client, twice the norm apart again.

    Args:
        config: The run's settings.
        strategy: Name of the arm's strategy.
        rows: The arm's rounds.
    """
    why = _obstacle(config, strategy, rows)
    if why is not None:
        return _spending(config, None, why)
    return _account(config, {1: _trained(rows)}, "")


def spent_together(
    config: Config, arms: Mapping[str, Mapping[int, Sequence[RoundRow]]]
) -> Spending:
    """Account for all arms of all seeds, released together: what one client id loses by all.

    Arms of a seed have noise of their own and share their clients: k Gaussian mechanisms on the
    same cohort are one with the noise multiplier divided by sqrt(k) (their Renyi divergences add
    up: Mironov, 2017, arXiv 1702.07476, proposition 1 and corollary 3), which also holds where
    that cohort was sampled once for all. Rounds and seeds draw anew, and compose. Every seed
    divides the data anew: the bound is for one client of each seed.

    Args:
        config: The run's settings.
        arms: The rounds of every arm, by strategy and seed.
    """
    played = [(name, rows) for name, by_seed in arms.items() for rows in by_seed.values()]
    for name, rows in played:
        why = _obstacle(config, name, rows)
        if why is not None:
            return _spending(config, None, f"nothing can be claimed of {name}: {why}")
    rounds = Counter[tuple[int, int]]()
    for by_seed in arms.values():
        for seed, rows in by_seed.items():
            rounds.update((seed, row.round) for row in rows if row.round > 0)
    seeds = {seed for seed, _ in rounds}
    several = f"all {len(played)} arms together ({len(seeds)} seeds, one client of each), "
    return _account(config, Counter(rounds.values()), several)


def _trained(rows: Sequence[RoundRow]) -> int:
    """Return the number of training rounds."""
    return sum(row.round > 0 for row in rows)


def _account(config: Config, releases: Mapping[int, int], whose: str) -> Spending:
    """Compose releases by Flower's accountant.

    Args:
        config: The run's settings.
        releases: How often so many models of the same clients were released at once.
        whose: What is released, as the beginning of the note; ``""`` for one arm's models.
    """
    try:
        import dp_accounting  # noqa: F401
    except ImportError:
        return _spending(
            config, None, "not computed: dp-accounting is missing, pip install 'fedgen[dp]'"
        )
    from flwr.serverapp import (
        GaussianPrivacyEvent,
        NeighboringRelation,
        PrivacyConfig,
        RdpAccountant,
        SamplingMethod,
    )

    rounds = sum(models * times for models, times in releases.items())
    clients = config.partition.clients
    cohort = cohort_size(clients, config.cohort.fraction)
    noise = config.privacy.noise_multiplier
    amplified = config.privacy.kind == "central" and config.cohort.resample
    if config.privacy.kind == "local":
        noise, cohort, clients = noise / 2, 1, 1
        note = (
            f"of {whose}one client towards the server, over {rounds} rounds, any two updates "
            "adjacent"
        )
    elif amplified:
        noise /= 2
        note = (
            f"of {whose}{rounds} global models, {cohort} of {clients} clients drawn for each "
            "round without replacement, adjacent by replacing one client"
        )
    else:
        note = (
            f"of {whose}{rounds} global models from one cohort{' a seed' if whose else ''}, no "
            "amplification by sampling, "
            f"adjacent by one client's update being zero, the number of clients ({cohort}) being "
            "public"
        )
    method = SamplingMethod.WITHOUT_REPLACEMENT if amplified else SamplingMethod.NO_AMPLIFICATION
    relation = (
        NeighboringRelation.REPLACE_ONE if amplified else NeighboringRelation.ADD_OR_REMOVE_ONE
    )
    accountant = RdpAccountant(
        PrivacyConfig(
            target_delta=config.privacy.delta,
            population_size=clients,
            neighboring_relation=relation,
            sampling_method=method,
        )
    )
    for models, times in releases.items():
        event = GaussianPrivacyEvent(
            noise_multiplier=noise / math.sqrt(models), sample_size=cohort, population_size=clients
        )
        accountant.compose(event, times)
    epsilon = accountant.get_epsilon(config.privacy.delta)
    if not math.isfinite(epsilon):
        return _spending(config, None, "the noise is too little for any bound")
    alone = "" if whose else "It is for this arm and one seed alone: what is released adds up. "
    return _spending(
        config,
        epsilon,
        f"{note}. {alone}It does not cover the losses and counts that clients report "
        "(clients.csv), and noise that is drawn from a known seed hides nothing from whoever knows "
        "the seed",
    )


def worst(spendings: Sequence[Spending]) -> Spending:
    """Return the arm about which least can be claimed."""
    return max(spendings, key=lambda arm: math.inf if arm.epsilon is None else arm.epsilon)


def _obstacle(config: Config, strategy: str, rows: Sequence[RoundRow]) -> str | None:
    """Return why no epsilon can be claimed, if so."""
    if is_pooled(strategy):
        return "training on pooled data is not private: nothing is clipped or noised"
    if is_own(strategies.parse(strategy).strategy) or is_own(config.model.name):
        return "of a strategy or model of your own, fedgen cannot tell what its weights depend on"
    tuner = strategies.tuner(strategy)
    chooses = tuner is not None and tuner.selects_on_losses
    if chooses or strategies.load(strategy).selects_on_losses:
        return (
            "the strategy selects hyperparameters on losses that clients report without noise, so "
            "every later model depends on them"
        )
    if not config.privacy.noise_multiplier:
        return "there is no noise"
    if config.model.layers is not None and config.model.layers.batch_norm:
        return "the moving statistics of batch normalisation are averaged without noise"
    if not any(row.round > 0 for row in rows):
        return "nothing was trained"
    if any(row.rejected or row.failed for row in rows):
        return (
            "some replies were not used, so the number of clients behind a model depends on data, "
            "which the accounting does not cover"
        )
    return None


def _spending(config: Config, epsilon: float | None, note: str) -> Spending:
    privacy = config.privacy
    return Spending(privacy.noise_multiplier, privacy.delta, epsilon, note)
