"""Simulated devices: how fast each client trains, and how long a round would take on them.

Only local training takes simulated time: samples trained, divided by the device's speed.
Messages, evaluation and the server take none. Nothing here looks at a clock, so
simulated seconds are as repeatable as everything else.
"""

import math

from fedgen.config.sections import Devices
from strategies.core.outcomes import RoundOutcome
from strategies.streams import rng


def speed(settings: Devices, seed: int, client: int) -> float:
    """Return how many samples a client's device trains a second; ``settings.speed`` is not "none".

    Uniform: between 1 - spread and 1 + spread times ``samples_per_second``, which is the mean.
    Log-normal: ``samples_per_second``, which is the median, times exp(sigma N(0, 1)).

    Args:
        settings: The devices.
        seed: Seed of the run; a client keeps its speed for all of it, under every strategy.
        client: Partition id.
    """
    draw = rng(seed, "device-speed", 0, client)
    if settings.speed == "uniform":
        factor = float(draw.uniform(1 - settings.spread, 1 + settings.spread))
    else:
        factor = math.exp(settings.sigma * float(draw.standard_normal()))
    return settings.samples_per_second * factor


def training_seconds(settings: Devices, seed: int, client: int, samples: int) -> float:
    """Return how long a client's device trains so many samples, each epoch's counted."""
    return samples / speed(settings, seed, client)


def round_seconds(settings: Devices, seed: int, outcome: RoundOutcome) -> float | None:
    """Return the simulated wall-clock of a round, of a search, or of a probe.

    The slowest client's time, as clients train at the same time; the sum, where they train in
    turn. A client that failed is waited for until the deadline, if there is one. One whose
    reply was rejected takes no time: what it claims to have trained cannot be trusted.

    Args:
        settings: The devices.
        seed: Seed of the run.
        outcome: What became of the round.

    Returns:
        Seconds; ``None`` where no devices are simulated.
    """
    if settings.speed == "none":
        return None
    samples: dict[int, int] = {}
    for result in outcome.clients:
        if result.update is not None:
            samples[result.client] = samples.get(result.client, 0) + result.update.samples
    times = [training_seconds(settings, seed, *item) for item in samples.items()]
    if settings.deadline:
        times += [settings.deadline] * outcome.failed
    return math.fsum(times) if outcome.in_turn else max(times, default=0.0)
