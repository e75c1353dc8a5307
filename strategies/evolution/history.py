"""Fitness over several rounds: the noise of one evaluation is what defeats ranking by loss.

Khodak et al., 2021 (arXiv 2106.04502) and Kuo et al., 2023 (arXiv 2212.08930) show how noisy
evaluation on few clients misleads the tuning of federated hyperparameters.
"""

from collections.abc import Mapping
from statistics import fmean, median

History = dict[int, list[float]]
"""Of every client, the relative losses of its genome's latest rounds, oldest first."""


def remember(history: History, losses: Mapping[int, float], window: int) -> History:
    """Return a history with one more round in it.

    Losses fall from round to round whatever the genes are, so each counts relative to the
    median of its round: a genome that was there early must not look worse for it.

    Args:
        history: Rounds before; clients that are not in this round stay as they are.
        losses: Finite losses of this round.
        window: How many rounds of a client are kept, at least 1.
    """
    middle = median(losses.values()) if losses else 0.0
    latest = {
        client: [*history.get(client, []), loss - middle][-window:]
        for client, loss in losses.items()
    }
    return history | latest


def averages(history: History) -> dict[int, float]:
    """Return every client's mean over the rounds that are kept of it."""
    return {client: fmean(past) for client, past in history.items()}
