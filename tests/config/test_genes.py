"""The section of genes: ranges of every kind, what is refused, and the ways in and out."""

import re
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st

from fedgen.comparison import request
from fedgen.config.toml import merge, parse_setting, read_toml, to_toml
from fedgen.config.tree import Config, build, dump
from fedgen.errors import InputError
from fedgen.federation.resources import Resources
from fedgen.federation.run_config import from_run_config, to_run_config
from strategies.core.genes import KINDS, Gene

DIGITS = {"data": {"dataset": "digits"}, "model": {"name": "mlp"}}


def declared(strategies: str = "genetic-cfl", **genes: dict[str, Any]) -> Config:
    """With an optimiser and a model that have use for the genes."""
    optimizer = "adamw" if "weight_decay" in genes else "sgd"
    model = "mlp-324-108-bn-dropout" if "dropout" in genes else "mlp"
    tree = {"training": {"optimizer": optimizer}, "model": {"name": model}, "genes": genes}
    return build(DIGITS | tree | {"run": {"strategies": strategies.split(",")}})


def refusal(strategies: str = "genetic-cfl", **genes: dict[str, Any]) -> str:
    with pytest.raises(InputError) as error:
        request.check(Resources(declared(strategies, **genes)), pytest.fail)
    assert "\n" not in error.value.line and error.value.exit_code == 2
    return error.value.line


def test_a_gene_by_hand() -> None:
    config = declared(
        learning_rate={"low": 1e-5, "high": 0.1, "scale": "log"},
        momentum={"low": 0, "high": 0.9},
        batch_size={"low": 8, "high": 64, "scale": "linear"},
    )
    assert config.genes.declared == {
        "learning_rate": Gene(1e-5, 0.1, "log"),
        "batch_size": Gene(8, 64, "linear", whole=True),
        "momentum": Gene(0.0, 0.9, "linear"),
    }
    assert list(config.genes.declared) == ["learning_rate", "batch_size", "momentum"]
    assert config.has_further_genes
    assert not declared(learning_rate={"low": 1e-5, "high": 0.1}).has_further_genes
    assert build(DIGITS).genes.declared == {}


LOG = {"learning_rate", "batch_size", "weight_decay", "clip_norm", "mu", "server_rate"}


@pytest.mark.parametrize("name", KINDS)
def test_what_suits_a_gene_is_its_scale(name: str) -> None:
    low, high = (1, 2) if KINDS[name].whole or KINDS[name].high > 1 else (0.25, 0.5)
    (gene,) = declared(**{name: {"low": low, "high": high}}).genes.declared.values()
    assert gene == Gene(low, high, "log" if name in LOG | {"global_rate"} else "linear", gene.whole)
    assert gene.whole == (name in ("batch_size", "local_epochs"))


OUTSIDE = [
    ("learning_rate", 0, 1, "over 0, received low = 0 and high = 1"),
    ("learning_rate", 1e-3, 1e-3, "expected low below high"),
    ("learning_rate", 1e-2, 1e-3, "expected low below high"),
    ("learning_rate", float("nan"), 1, "finite"),
    ("learning_rate", 1e-3, float("inf"), "finite"),
    ("batch_size", 0, 8, "from 1 to 2.14748e+09, received low = 0"),
    ("batch_size", 8, 2**31, "from 1 to 2.14748e+09, received low = 8"),
    ("batch_size", 8, 16.5, "expected whole numbers, received 8 and 16.5"),
    ("local_epochs", 0, 2, "from 1 to 10000, received low = 0"),
    ("local_epochs", 1, 10001, "from 1 to 10000"),
    ("momentum", 0, 1, "from 0 below 1, received low = 0 and high = 1"),
    ("momentum", -0.1, 0.5, "from 0 below 1, received low = -0.1"),
    ("weight_decay", -1, 1, "from 0, received low = -1"),
    ("weight_decay", 0, 1, "expected low over 0 on the scale 'log', or scale = 'linear'"),
    ("clip_norm", 0, 1, "over 0, received low = 0"),
    ("label_smoothing", 0, 1, "from 0 below 1"),
    ("dropout", 0.5, 1, "from 0 below 1"),
    ("mu", 0, 1, "expected low over 0 on the scale 'log'"),
    ("server_rate", 0, 1, "over 0"),
    ("server_momentum", 0, 1, "from 0 below 1"),
    ("beta_1", 0.5, 1, "from 0 below 1"),
    ("beta_2", 0.5, 1, "from 0 below 1"),
    ("global_rate", 0, 1, "over 0"),
]


@pytest.mark.parametrize(("name", "low", "high", "why"), OUTSIDE, ids=str)
def test_a_range_that_its_gene_cannot_have(name: str, low: float, high: float, why: str) -> None:
    assert {gene for gene, *_ in OUTSIDE} == set(KINDS)
    message = refusal(**{name: {"low": low, "high": high}})
    assert "genes" in message and name in message and why in message


def test_zero_is_in_a_linear_range() -> None:
    for name in ("weight_decay", "mu"):
        gene = declared("genetic-cfl/fedprox", **{name: {"low": 0, "high": 1, "scale": "linear"}})
        assert gene.genes.declared == {name: Gene(0.0, 1.0, "linear")}


@pytest.mark.parametrize(
    ("strategies", "genes", "why"),
    [
        ("genetic-cfl", {"learning_rat": {"low": 1, "high": 2}}, "did you mean 'learning_rate'?"),
        (
            "genetic-cfl",
            {"learning_rate": {"lo": 1, "high": 2}},
            "learning_rate.low: expected a value",
        ),
        (
            "genetic-cfl",
            {"learning_rate": {"low": 1, "high": 2, "scal": "log"}},
            "genes.learning_rate: unknown setting 'scal': did you mean 'scale'?",
        ),
        ("genetic-cfl", {"learning_rate": {"low": 1}}, "learning_rate.high"),
        ("genetic-cfl", {"learning_rate": {"low": 1, "high": 2, "scale": "ln"}}, "received 'ln'"),
        ("genetic-cfl", {"learning_rate": 0.1}, "as {low = 1, high = 2}, received 0.1"),
        ("genetic-cfl", {"mu": [1, 2]}, "genes.mu: expected a table"),
        ("fedavg,fedprox", {"momentum": {"low": 0, "high": 0.5}}, "received fedavg, fedprox"),
        ("genetic-cfl", {"mu": {"low": 0.1, "high": 1}}, "genes.mu: genetic-cfl cannot apply it"),
        ("pbt/fedavgm", {"mu": {"low": 0.1, "high": 1}}, "genes.mu: pbt/fedavgm cannot apply it"),
        (
            "genetic-cfl/fedprox,genetic-cfl",
            {"mu": {"low": 0.1, "high": 1}},
            "genes.mu: genetic-cfl cannot apply it",
        ),
        ("genetic-cfl/scaffold", {"momentum": {"low": 0, "high": 0.5}}, "genes.momentum: genetic"),
        ("genetic-cfl+momentum", {"momentum": {"low": 0, "high": 0.5}}, "evolve_momentum false"),
        ("genetic-cfl+higher-rates", {"learning_rate": {"low": 0.1, "high": 1}}, "beside genes."),
        (
            "strategies.fedavg:FedAvg",
            {"learning_rate": {"low": 0.1, "high": 1}},
            "expected a strategy that evolves or searches them",
        ),
    ],
)
def test_a_wrong_declaration_is_one_line(strategies: str, genes: dict, why: str) -> None:
    assert why in refusal(strategies, **genes)


def test_momentum_needs_sgd() -> None:
    tree = {"genes": {"momentum": {"low": 0, "high": 0.5}}}
    with pytest.raises(InputError, match=r"genes.momentum: .* needs optimizer 'sgd', .*'adam'"):
        build(tree)


@pytest.mark.parametrize("tuner", ["genetic-cfl", "pbt", "fedex", "random-search"])
def test_mu_goes_with_fedprox(tuner: str) -> None:
    config = declared(f"{tuner}/fedprox,fedavg", mu={"low": 1e-3, "high": 1})
    request.check(Resources(config), pytest.fail)


BOUNDS = st.tuples(st.floats(1e-6, 0.4), st.floats(0.5, 0.9))
RANGES = st.fixed_dictionaries(
    {},
    optional={
        # No optimiser has use for both of momentum and weight decay.
        **{name: BOUNDS for name in KINDS if not KINDS[name].whole and name != "momentum"},
        "batch_size": st.tuples(st.integers(1, 9), st.integers(10, 99)),
    },
)


@given(RANGES, st.sampled_from(["auto", "linear"]))
def test_it_goes_through_files_and_flower_s_run_config(
    tmp_path_factory: pytest.TempPathFactory, ranges: dict, scale: str
) -> None:
    genes = {n: {"low": low, "high": high, "scale": scale} for n, (low, high) in ranges.items()}
    config = declared("genetic-cfl/my.own:Strategy", **genes)
    assert from_run_config(to_run_config(config)) == config
    path = tmp_path_factory.mktemp("genes") / "config.toml"
    path.write_text(to_toml(dump(config)))
    assert build(read_toml(path)) == config
    assert ("genes" in dump(config)) == bool(genes)


def test_it_can_be_typed() -> None:
    text = 'genes.learning_rate={low = 1e-5, high = 1e-1, scale = "log"}'
    config = build(merge({}, [parse_setting(text)]))
    assert config.genes.declared == {"learning_rate": Gene(1e-5, 0.1, "log")}


CASES = [
    ("genes.learning_rat={low = 1, high = 2}", "unknown setting 'learning_rat': did you mean"),
    ("genes.learning_rate={low = 0, high = 2}", "expected low below high, over 0"),
    ("genes.batch_size={low = 1.5, high = 2}", "expected whole numbers, received 1.5 and 2"),
    ("genes.momentum={low = 0, high = 0.5}", "genes.momentum: .* needs optimizer 'sgd'"),
    ("genes.mu={low = 0.1, high = 1}", "genes.mu: genetic-cfl cannot apply it, expected genes"),
    ("genes.mu={low = 0.1", "genes.mu"),
    ("run.strategies=genetic-cfl/pbt", "genetic-cfl cannot choose for pbt: it has a tuner itself"),
    ("run.strategies=genetic-cfl/fedvag", "unknown strategy 'fedvag': did you mean 'fedavg'"),
    ("run.strategies=genetic-cfl+probe/cyclic", "expected init 'random', received 'probe'"),
]


@pytest.mark.parametrize(("typed", "said"), CASES, ids=[typed for typed, _ in CASES])
def test_the_command_says_it_in_one_line(tmp_path: Path, typed: str, said: str) -> None:
    result = run(tmp_path, tmp_path / "home", "compare", "--dataset=digits", f"--set={typed}")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: ") and re.search(said, line), line
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.parametrize(
    ("gene", "low", "high"),
    [
        ("learning_rate", 1e-60, 1e-3),  # a rate of 0
        ("clip_norm", 1.0, 1e60),  # infinite
        ("label_smoothing", 0.0, 1 - 1e-12),  # 1
    ],
)
def test_ends_that_float32_does_not_hold_are_refused(gene: str, low: float, high: float) -> None:
    with pytest.raises(InputError) as found:
        build({"genes": {gene: {"low": low, "high": high}}})
    told = f"settings: genes: {gene}: expected ends that float32 tells from 0 and "
    assert re.match(re.escape(told), str(found.value)), found.value
    assert repr(low) in str(found.value) and repr(high) in str(found.value)


def test_the_widest_ranges_that_it_holds_are_taken() -> None:
    ranges = {"learning_rate": (1e-38, 1e38), "batch_size": (1, 2**31 - 1)}
    genes = {name: {"low": low, "high": high} for name, (low, high) in ranges.items()}
    assert set(build({"genes": genes}).genes.declared) == set(ranges)


def test_a_flag_may_make_good_what_a_file_alone_would_be_refused_for(tmp_path: Path) -> None:
    path = tmp_path / "genes.toml"
    path.write_text('[genes]\nmomentum = {low = 0.0, high = 0.9}\n[training]\noptimizer = "adam"\n')
    laid = [("training", "optimizer", "sgd")]
    assert request.read(path, laid).config.training.optimizer == "sgd"
    for others in ([], [("run", "rounds", 3)]):
        with pytest.raises(InputError, match=f"^{path}: genes.momentum: no client can apply it"):
            request.read(path, others)
    with pytest.raises(InputError, match="^settings: run.rounds"):
        request.read(path, [*laid, ("run", "rounds", -1)])
    path.write_text('[genes]\nmomentum = {low = 0.0, high = 0.9}\n[training]\noptimizer = "sgd"\n')
    with pytest.raises(InputError, match="^settings: genes.momentum: no client can apply it"):
        request.read(path, [("training", "optimizer", "adam")])
