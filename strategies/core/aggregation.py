"""Aggregation of client weights: the mean, and means that bear well-formed but malicious ones.

Flower's own functions do the work where they are right: its trimmed mean, Krum's selection and
clipping. They get float64, in which Krum's distances do not cancel out, and only
replies that were checked, since one NaN makes each of them NaN.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Arrays = list[NDArray[np.generic]]
Kind = Literal["mean", "median", "trimmed-mean", "krum", "clipped-mean"]
Statistic = Literal["mean", "variance"]
Statistics = Mapping[int, Statistic]
"""Positions of the arrays that are moving statistics of batch normalisation, and of what."""


@dataclass(frozen=True)
class Aggregation:
    """How updates become one model.

    Moving statistics of batch normalisation are averages of activations, not steps
    from the global model. The mean, median and trimmed mean treat them as all
    else; Krum does not measure distances on them and takes the chosen client's; the
    clipped mean takes their median.

    Attributes:
        kind: ``"mean"``: by weight (McMahan et al., 2017, arXiv 1602.05629).
            ``"median"`` and ``"trimmed-mean"``: per coordinate, without weights (Yin et
            al., 2018, arXiv 1803.01498). ``"krum"``: the one update nearest to
            its n - f - 2 nearest ones (Blanchard et al., 2017, arXiv 1703.02757).
            ``"clipped-mean"``: the mean of updates cut to a norm (Sun et al., 2019, arXiv
            1911.07963).
        f: Attackers that Krum reckons with, at least 1; n must be at least 2 f + 3.
        trim: Share of the clients that the trimmed mean cuts off at each end, in (0, 0.5);
            it must come to at least one client.
        clip_norm: L2 norm that the clipped mean cuts updates to; 0 for the
            median of the round's norms.
    """

    kind: Kind = "mean"
    f: int = 1
    trim: float = 0.2
    clip_norm: float = 0.0

    def check(self, n: int) -> None:
        """Check that ``n`` updates can be aggregated.

        Raises:
            ValueError: If they are too few for ``f`` or ``trim``.
        """
        if self.kind == "krum" and n < 2 * self.f + 3:
            raise ValueError(
                f"aggregation krum with f = {self.f} needs at least {2 * self.f + 3} clients "
                f"(2 f + 3), received {n}"
            )
        cut = self._cut(n)
        if self.kind == "trimmed-mean" and not 0 < 2 * cut < n:
            needed = int(np.ceil(1 / self.trim))
            raise ValueError(
                f"aggregation trimmed-mean with trim = {self.trim:g} cuts {cut} of {n} clients at "
                f"each end, expected at least one cut and one left: {needed} clients or more, or "
                "another trim"
            )

    def combine(
        self,
        updates: Sequence[Arrays],
        weights: Sequence[float],
        reference: Arrays,
        statistics: Statistics,
    ) -> Arrays:
        """Aggregate updates, in the order given.

        Args:
            updates: One list of arrays per client, all finite, at least one.
            weights: One weight per client; only the means look at them.
            reference: The global model that they started from.
            statistics: Which arrays are moving statistics.

        Where some of the clients that ``check`` reckoned with are missing, Krum's f and the
        trimmed mean's cut shrink to what those left allow: a bad reply stops no run.
        """
        if self.kind == "mean":
            return weighted_mean(updates, weights)
        if self.kind == "median":
            return [_median(layer) for layer in zip(*updates, strict=True)]
        if self.kind == "trimmed-mean":
            cut = min(max(1, self._cut(len(updates))), (len(updates) - 1) // 2)
            return [_trimmed(layer, cut) for layer in zip(*updates, strict=True)]
        if self.kind == "krum":
            f = min(self.f, max(0, (len(updates) - 3) // 2))
            return list(updates[krum(updates, reference, f, statistics)])
        norm = self.clip_norm or float(
            np.median([update_norm(update, reference, statistics) for update in updates])
        )
        clipped = [clip(update, reference, norm, statistics) for update in updates]
        means = weighted_mean(clipped, weights)
        return [
            _median([update[i] for update in updates])
            if i in statistics
            else as_kind(mean, updates[0][i].dtype)
            for i, mean in enumerate(means)
        ]

    def _cut(self, n: int) -> int:
        return int(np.floor(self.trim * n + 1e-9))


def weighted_mean(updates: Sequence[Arrays], weights: Sequence[float]) -> Arrays:
    """Average arrays over clients (FedAvg, McMahan et al., 2017, arXiv 1602.05629).

    Products and sums are float64 in the order given, so a caller who fixes the
    order fixes the bytes; the result is cast back to the dtype of the first
    update, integers to the nearest one.

    Args:
        updates: One list of equally shaped arrays per client, at least one.
        weights: One weight per client, not negative, with a positive sum.

    Raises:
        ValueError: If there are no updates, or the weights do not fit them.
    """
    total = float(sum(weights))
    if not updates or len(updates) != len(weights) or min(weights) < 0 or not 0 < total < np.inf:
        raise ValueError(
            f"need one weight >= 0 per update and a positive sum. "
            f"Received: {len(updates)} updates, weights {list(weights)}"
        )
    # A Python float would leave the products in float32.
    shares = [np.float64(weight / total) for weight in weights]
    return [_weighted(layer, shares) for layer in zip(*updates, strict=True)]


BLOCK = 1 << 15
"""Entries of an array that are averaged at once: their float64 sums stay in a core's cache."""


def _weighted(
    layer: Sequence[NDArray[np.generic]], shares: Sequence[np.float64]
) -> NDArray[np.generic]:
    """Average one array over clients, block by block, each entry in the clients' order."""
    flat: list[NDArray[Any]] = [array.reshape(-1) for array in layer]
    mean = np.empty(flat[0].shape, flat[0].dtype)
    for begin in range(0, mean.size, BLOCK):
        here = slice(begin, begin + BLOCK)
        # Not from 0, which -0 would not leave as it is: equal arrays have the mean that they are.
        total = np.multiply(flat[0][here], shares[0])
        term = np.empty_like(total)
        for array, share in zip(flat[1:], shares[1:], strict=True):
            np.multiply(array[here], share, out=term)
            total += term
        mean[here] = as_kind(total, mean.dtype)
    return mean.reshape(layer[0].shape)


def krum(updates: Sequence[Arrays], reference: Arrays, f: int, statistics: Statistics) -> int:
    """Return the position of the update that Krum chooses, by Flower's ``select_multikrum``."""
    from flwr.app import ArrayRecord, RecordDict

    from strategies.core.flower import select_multikrum

    contents = []
    for update in updates:
        steps = _steps(update, reference, statistics)
        contents.append(RecordDict({"arrays": ArrayRecord([np.concatenate([*steps, [0.0]])])}))
    (chosen,) = select_multikrum(contents, f, 1)
    return next(i for i, content in enumerate(contents) if content is chosen)


def update_norm(update: Arrays, reference: Arrays, statistics: Collection[int]) -> float:
    """Return the L2 norm of an update's step from the global model, moving statistics left out."""
    from strategies.core.flower import get_norm

    return get_norm(_steps(update, reference, statistics))


def clip(update: Arrays, reference: Arrays, norm: float, statistics: Collection[int]) -> Arrays:
    """Cut an update's step from the global model to an L2 norm, by Flower's own function.

    Returns:
        Float64 arrays; moving statistics are left as they are.
    """
    from strategies.core.flower import clip_inputs_inplace, get_norm

    steps: Any = _steps(update, reference, statistics)
    if get_norm(steps) > norm:  # a step of length 0 would divide by it
        clip_inputs_inplace(steps, norm)
    left = iter(steps)
    return [
        array.astype(np.float64)
        if i in statistics
        else start.astype(np.float64) + next(left).reshape(start.shape)
        for i, (array, start) in enumerate(zip(update, reference, strict=True))
    ]


def _steps(
    update: Arrays, reference: Arrays, statistics: Collection[int]
) -> list[NDArray[np.float64]]:
    # Flat, because what clips in place cannot change an array of no dimension.
    return [
        (array.astype(np.float64) - start.astype(np.float64)).reshape(-1)
        for i, (array, start) in enumerate(zip(update, reference, strict=True))
        if i not in statistics
    ]


def _median(layer: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    return as_kind(np.median(np.stack(layer).astype(np.float64), axis=0), layer[0].dtype)


def _trimmed(layer: Sequence[NDArray[np.generic]], cut: int) -> NDArray[np.generic]:
    from strategies.core.flower import trim_mean

    stack = np.stack(layer).astype(np.float64)
    # It takes a share and rounds its product with n down.
    return as_kind(trim_mean(stack, (cut + 1e-6) / len(layer)), layer[0].dtype)


def as_kind(mean: NDArray[Any], kind: np.dtype[Any]) -> NDArray[np.generic]:
    """Return float64 as another type: whole numbers are the nearest ones."""
    return np.asarray(np.rint(mean) if kind.kind in "iu" else mean).astype(kind)
