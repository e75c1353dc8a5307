"""Disjoint partitions: who gets what, by hand and by properties."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from runs import play, rows

from fedgen.config.sections import Partition as Settings
from fedgen.data.partitions import disjoint
from fedgen.data.partitions.contiguous import partition
from fedgen.data.partitions.partition import Partition, effective_labels
from fedgen.data.partitions.split import split
from fedgen.errors import InputError
from fedgen.report import results
from fedgen.report.charts import partition as holdings
from strategies.streams import rng

SEEDS = st.integers(0, 2**32)
KINDS = ("iid", "dirichlet", "dirichlet-labels", "shards", "quantity")
few = settings(max_examples=60, deadline=None)
DIGITS = np.random.default_rng(0).integers(10, size=1437)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Settings, int]:
    """Labels with gaps and of any frequency, settings of any kind, a seed."""
    samples = draw(st.integers(20, 400))
    frequencies = draw(st.lists(st.integers(1, 20), min_size=1, max_size=6))
    source = np.random.default_rng(draw(SEEDS))
    shares = np.array(frequencies) / sum(frequencies)
    labels = 2 * source.choice(len(frequencies), size=samples, p=shares)
    kind = draw(st.sampled_from(KINDS))
    return (
        labels,
        Settings(
            kind=kind,
            clients=draw(st.integers(1, 20)),
            alpha=draw(st.sampled_from([1e-300, 1e-3, 0.1, 1.0, 1e6])),
            min_partition_size=draw(st.integers(1, 12)),
            labels_per_client=draw(st.integers(1, 4)),
            sigma=draw(st.sampled_from([0.0, 0.5, 2.0])),
        ),
        draw(SEEDS),
    )


def made(case: tuple[np.ndarray, Settings, int]) -> Partition:
    """The partition of a case; a refusal is a line that names a setting, and no example."""
    labels, wanted, seed = case
    try:
        return split(labels, wanted, seed)
    except InputError as error:
        assert "partition." in str(error) and "\n" not in str(error)
        assume(False)
        raise


@few
@given(cases())
def test_every_sample_is_used_once_and_nobody_is_empty(
    case: tuple[np.ndarray, Settings, int],
) -> None:
    labels, _, _ = case
    split = made(case)
    trained = np.concatenate([shard.train for shard in split.clients])
    assert sorted(trained.tolist()) == split.training.tolist()
    assert sorted([*split.training.tolist(), *split.validation.tolist()]) == [*range(len(labels))]
    held = np.concatenate([shard.validation for shard in split.clients])
    assert set(held.tolist()) <= set(split.validation.tolist())
    for shard in split.clients:
        for indices in (shard.train, shard.validation):
            assert indices.size and indices.dtype == np.int32
            assert (np.diff(indices) > 0).all()
    # Held-out samples are disjoint as well, but for the one that a client may have to borrow.
    several = [s.validation for s in split.clients if len(s.validation) > 1]
    shared = Counter(np.concatenate([*several, np.zeros(0, np.int32)]).tolist())
    assert set(shared.values()) <= {1}
    assert split.slices == ()


@few
@given(cases())
def test_equal_seeds_give_equal_splits(case: tuple[np.ndarray, Settings, int]) -> None:
    one, again = made(case), made(case)
    for first, second in zip(one.clients, again.clients, strict=True):
        np.testing.assert_array_equal(first.train, second.train)
        np.testing.assert_array_equal(first.validation, second.validation)


@few
@given(cases())
def test_the_held_out_share_does_not_depend_on_the_kind(
    case: tuple[np.ndarray, Settings, int],
) -> None:
    labels, _, seed = case
    np.testing.assert_array_equal(made(case).validation, partition(len(labels), 3, seed).validation)


@few
@given(cases())
def test_sizes_and_labels_are_as_promised(case: tuple[np.ndarray, Settings, int]) -> None:
    labels, wanted, _ = case
    split = made(case)
    sizes = [len(shard.train) for shard in split.clients]
    if wanted.kind == "iid":
        assert max(sizes) - min(sizes) <= 1
        held = [len(shard.validation) for shard in split.clients]
        assert max(held) - min(held) <= 1
    if wanted.kind == "shards":
        holders: Counter[int] = Counter()
        for shard in split.clients:
            mine = np.unique(labels[shard.train]).tolist()
            assert len(mine) == wanted.labels_per_client
            holders.update(mine)
        for label, number in holders.items():  # equal shards, within one sample
            shares = [int((labels[shard.train] == label).sum()) for shard in split.clients]
            shares = [share for share in shares if share]
            assert len(shares) == number and max(shares) - min(shares) <= 1
    if wanted.kind == "quantity" and wanted.sigma == 0:
        assert max(sizes) - min(sizes) <= 1
    if wanted.kind == "dirichlet-labels":
        held_out = np.zeros(len(labels), bool)
        held_out[split.validation] = True
        few = wanted.min_partition_size
        parts = disjoint.dirichlet_labels(
            labels, held_out, wanted.clients, case[2], wanted.alpha, few
        )
        assert sizes == [int((~held_out[part]).sum()) for part in parts]
        assert min(map(len, parts)) >= few
        if wanted.alpha == 1e6:  # every client has its share of every label, cut at whole samples
            for label in np.unique(labels):
                whole = (labels == label).sum()
                each = [int((labels[part] == label).sum()) for part in parts]
                assert max(abs(mine - whole / wanted.clients) for mine in each) < 2
    if wanted.kind == "dirichlet":
        held_out = np.zeros(len(labels), bool)
        held_out[split.validation] = True
        parts = disjoint.dirichlet(labels, wanted.clients, case[2], wanted.alpha)
        whole = [len(part) for part in parts]
        assert max(whole) - min(whole) <= 1
        assert sizes == [int((~held_out[part]).sum()) for part in parts]


def test_seeds_differ() -> None:
    for kind in KINDS:
        one, other = (split(DIGITS, Settings(kind=kind, clients=10), s) for s in (0, 1))
        assert one.clients[0].train.tolist() != other.clients[0].train.tolist()


def test_label_skew_by_hand() -> None:
    """Whole: shares 1/2 and 1/2. Distances 1/2, 1/2 and 0, so 1/3; an idle client is none."""
    assert holdings.label_skew([[10, 0], [0, 10], [5, 5]])[0] == pytest.approx(1 / 3)
    assert holdings.label_skew([[10, 0], [0, 0], [0, 10]])[0] == pytest.approx(1 / 2)
    # One of ten labels each: 1 - 1/10. Chance: two shares of 1/2, so sqrt(1 / (2 pi n)).
    assert holdings.label_skew(np.eye(10, dtype=int).tolist())[0] == pytest.approx(0.9)
    assert holdings.label_skew([[8, 8]])[1] == pytest.approx((1 / (32 * np.pi)) ** 0.5)


@few
@given(st.integers(2, 8), st.integers(20, 200), SEEDS)
def test_chance_is_what_random_samples_come_to(classes: int, size: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    shares = draw.dirichlet(np.full(classes, 5.0))
    skew, chance = holdings.label_skew(draw.multinomial(size, shares, 400).tolist())
    assert skew == pytest.approx(chance, rel=0.15)


def test_effective_labels_by_hand() -> None:
    """One label is 1, two equal ones 2; of 3/4 and 1/4, exp(H) is 4 / 3^(3/4). Idle: none."""
    assert effective_labels([[7, 0, 0]]) == 1
    assert effective_labels([[5, 0, 5], [0, 9, 0], [0, 0, 0]]) == pytest.approx(1.5)
    assert effective_labels([[3, 1]]) == pytest.approx(4 / 3**0.75)


def skew(split: Partition) -> float:
    counts = [np.bincount(DIGITS[s.train], minlength=10).tolist() for s in split.clients]
    return holdings.label_skew(counts)[0]


def test_a_small_alpha_skews_labels_and_a_large_one_does_not() -> None:
    skews = [
        skew(split(DIGITS, Settings(kind="dirichlet", clients=10, alpha=alpha), 0))
        for alpha in (1e-300, 0.1, 1.0, 10.0, 1e6)
    ]
    even = skew(split(DIGITS, Settings(kind="iid", clients=10), 0))
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.7 and skews[-1] == pytest.approx(even, abs=0.02)


def test_dirichlet_shares_have_the_mean_and_variance_of_the_distribution() -> None:
    """q ~ Dir(alpha p): mean p, variance p (1 - p) / (alpha + 1); two labels, plenty of both."""
    labels = np.repeat([0, 1], [3000, 7000])
    first = []
    for seed in range(60):
        parts = disjoint.dirichlet(labels, 20, seed, 3.0)
        served_first = rng(seed, "partition-dirichlet").permutation(20)[0]  # meets no shortage
        first.append(float((labels[parts[served_first]] == 0).mean()))
    assert np.mean(first) == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4 / 60))
    assert np.var(first) == pytest.approx(0.21 / 4, rel=0.6)


def drawn(kind: str, alpha: float, seeds: int) -> tuple[list[float], list[list[int]]]:
    """Effective labels, and sizes, of 100 clients of 50,000 samples of ten labels, per seed."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5000))
    nobody, effective, sizes = np.zeros(50_000, bool), [], []
    for seed in range(seeds):
        if kind == "dirichlet":
            parts = disjoint.dirichlet(labels, 100, seed, alpha)
        else:
            parts = disjoint.dirichlet_labels(labels, nobody, 100, seed, alpha)
        effective.append(effective_labels([np.bincount(labels[part]).tolist() for part in parts]))
        sizes.append([len(part) for part in parts])
    return effective, sizes


@pytest.mark.parametrize(
    ("alpha", "labels", "spread"),
    [
        (0.1, (2.507, 0.0141, 33), (0.926, 0.0140)),
        (0.5, (5.456, 0.0205, 40), (0.432, 0.0064)),
        (1.0, (6.985, 0.0180, 40), (0.313, 0.0041)),
    ],
)
def test_dirichlet_labels_is_as_flwr_datasets_has_it(
    alpha: float, labels: tuple[float, float, int], spread: tuple[float, float]
) -> None:
    """Means over seeds agree within four standard errors of their difference.

    Measured with ``DirichletPartitioner`` of flwr-datasets 0.5.0 on the same labels: mean, standard
    error, and number of those of the seeds 0 to 39 that it partitions (at 0.1 the other 7 end in
    an error): effective labels per client, and the sizes' standard deviation over their mean.
    """
    seeds = 20
    effective, sizes = drawn("dirichlet-labels", alpha, seeds)
    wider = 4 * (1 + labels[2] / seeds) ** 0.5
    assert np.mean(effective) == pytest.approx(labels[0], abs=wider * labels[1])
    spreads = [np.std(each) / np.mean(each) for each in sizes]
    assert np.mean(spreads) == pytest.approx(spread[0], abs=wider * spread[1])


def test_the_same_alpha_is_ten_times_stronger_by_client_than_by_label() -> None:
    """With ten labels, alpha a by label has about the mixture of 10 a by client."""
    by_label, by_client, tenfold = (
        float(np.mean(drawn(kind, alpha, 3)[0]))
        for kind, alpha in (("dirichlet-labels", 0.1), ("dirichlet", 0.1), ("dirichlet", 1.0))
    )
    assert by_label == pytest.approx(tenfold, rel=0.1)
    assert by_client < 1.35 and by_label > 2.3


def test_log_normal_sizes() -> None:
    """Logarithms of the sizes have the standard deviation that was asked for."""
    held_out = np.zeros(200_000, bool)
    held_out[::10] = True
    parts = disjoint.quantity(held_out, 400, 0, 0.8)
    logs = np.log([len(part) for part in parts])
    assert np.std(logs) == pytest.approx(0.8, rel=0.12)
    assert sum(map(len, parts)) == 200_000


def test_apportion_by_hand() -> None:
    """Quotas 2.5, 1.25, 1.25: floors 2, 1, 1, and the largest remainder is the first one's."""
    assert disjoint.apportion(5, np.array([2.0, 1.0, 1.0])).tolist() == [3, 1, 1]
    assert disjoint.apportion(2, np.ones(3)).tolist() == [1, 1, 0]
    assert disjoint.apportion(0, np.ones(2)).tolist() == [0, 0]


def test_numbers_of_shards_by_hand() -> None:
    """Of 60, 30 and 10 samples six shards: 60 is cut at once, then 30s and the 30, and so on."""
    numbers = disjoint._numbers_of_shards(np.array([60, 30, 10]), 6, np.array([9, 9, 9]))
    assert numbers.tolist() == [3, 2, 1]
    capped = disjoint._numbers_of_shards(np.array([60, 30, 10]), 6, np.array([2, 9, 9]))
    assert capped.tolist() == [2, 3, 1]


def test_a_client_without_a_held_out_sample_validates_on_one_of_its_labels() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    held_out = np.array([0, 0, 1, 0, 0, 0, 1, 1], bool)
    parts = [np.array([0, 1, 3], np.int32), np.array([4, 5], np.int32)]
    one, two = disjoint.divide(parts, labels, held_out, 0)
    assert one.validation.size == 1 and one.validation[0] in (2, 6, 7)
    assert two.validation.size == 1 and two.validation[0] in (6, 7)
    assert two.train.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"kind": "shards", "labels_per_client": 11}, "labels_per_client = 11.*at most 10"),
        ({"kind": "shards", "clients": 4, "labels_per_client": 2}, "4 x 2: expected at least 10"),
        ({"kind": "shards", "clients": 1300, "labels_per_client": 2}, "no training sample.*allow"),
        ({"kind": "iid", "clients": 1400}, "'iid' leaves 107 of 1,400.*no training sample"),
        ({"kind": "quantity", "clients": 100, "sigma": 4.0}, "with no training.*partition.sigma"),
        ({"kind": "dirichlet", "clients": 1400}, "'dirichlet' leaves .* with no training sample"),
        ({"kind": "dirichlet-labels", "clients": 144}, "144 x 10: expected at most 1,437"),
        (
            {"kind": "dirichlet-labels", "clients": 20, "alpha": 1e-3},
            "'dirichlet-labels' with alpha 0.001 leaves.*fewer than 10 .*client has 0.*raise",
        ),
    ],
    ids=str,
)
def test_what_is_impossible_is_one_line(wanted: dict, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        split(DIGITS, Settings(**wanted), 0)
    assert error.value.exit_code == 2 and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["shards", "iid", "dirichlet-labels"])
def test_a_run_on_another_partition_trains_and_draws_what_clients_hold(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("runs") / "run"
    run = play(out, partition={"kind": kind}, run={"rounds": 1, "strategies": ["fedavg"]})
    held = rows(run.path / "partition.csv")
    assert {(row["start"], row["stop"]) for row in held} == {("", "")}
    assert sum(int(row["train"]) for row in held) == 1437 - 144
    labels = [sum(count != "0" for count in row["labels"].split()) for row in held]
    if kind != "dirichlet-labels":
        assert set(labels) == ({2} if kind == "shards" else {10})
    page = (run.path / "report.html").read_text()
    assert run.config.partition.told in page and "contiguous slices" not in page
    whole = results.load(run.path)
    assert "slices-seed0" not in whole.charts
    assert "Label skew" in whole.charts["labels-seed0"].text
    counts = [list(map(int, row["labels"].split())) for row in held]
    effective = effective_labels(counts)
    assert f"Effective labels per client {effective:.2f}" in whole.charts["labels-seed0"].text
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["effective_labels"] == {"mean": effective, "values": [effective]}
