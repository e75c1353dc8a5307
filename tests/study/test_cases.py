"""A study's file: checked case by case, and every case under a hash of all that decides it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import studies
from studies import KERAS, SKLEARN

from fedgen.errors import InputError
from fedgen.study import cases as parsing
from fedgen.study.cases import describe, parse_setting, variant
from fedgen.study.estimators import KerasModel, SklearnMlp

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments").glob("*mlp*.toml"))
STACKS = [[324, 108], [356, 105, 51], [507, 312, 212, 126, 84]]


def keys(base: dict[str, Any], **sections: Any) -> list[str]:
    return [case.key for case in studies.cases(studies.build(base, **sections))]


def test_a_grid_is_every_combination_in_the_order_of_the_file() -> None:
    found = studies.cases(studies.build(SKLEARN))
    assert [case.title for case in found] == [
        "(8), alpha 0.0001",
        "(8), alpha 1",
        "(4, 6), alpha 0.0001",
        "(4, 6), alpha 1",
    ]
    assert all(case.settings.max_iter == 5 for case in found)
    assert len({case.key for case in found}) == 4


def test_listed_cases_and_axes_are_combined() -> None:
    study = studies.build(SKLEARN | {"axes": {"alpha": [1, 2]}}, cases=[{"depth": 0}, {"depth": 3}])
    found = studies.cases(study)
    assert [(case.settings.sizes, case.settings.alpha) for case in found] == [
        ((), 1.0),
        ((), 2.0),
        ((50, 50, 50), 1.0),
        ((50, 50, 50), 2.0),
    ]


def test_without_axes_there_is_one_case() -> None:
    assert [case.title for case in studies.cases(studies.build(SKLEARN | {"axes": {}}))] == [
        "the only case"
    ]


def test_a_hash_is_of_what_decides_a_fit_and_of_nothing_else() -> None:
    first = keys(SKLEARN)
    assert keys(SKLEARN, study={"seeds": 5, "metrics": ["recall"]}, data={"data_dir": "/"}) == first
    assert keys(SKLEARN, axes={"alpha": [1.0, 1e-4]}) == [first[1], first[0], first[3], first[2]]
    assert keys(SKLEARN, fixed={"tol": 1e-4}) == first, "the default, written out"
    for changed in (
        {"fixed": {"max_iter": 6}},
        {"study": {"seed": 1}},
        {"study": {"sampling": "with-replacement"}},
        {"data": {"train_samples": 301}},
        {"data": {"validation_fraction": 0.1}},
        {"data": {"test_fraction": 0.5}},
        {"data": {"pixels": "raw"}},
        {"data": {"scale": 16.0}},
        {"data": {"layout": "channels-last"}},
    ):
        assert not set(keys(SKLEARN, **changed)) & set(first), changed
    study = studies.build(SKLEARN)
    assert parsing.cases(study, "one")[0].key != parsing.cases(study, "other")[0].key


def test_settings_that_came_later_leave_the_hashes_of_fits_that_are_there() -> None:
    """What a study's rows were kept under before there was a scale or a layout."""
    assert keys(SKLEARN) == ["cf4700af1b4e", "1da332c79ee2", "8f5df2c9ba04", "1b484eea8e12"]
    assert keys(SKLEARN, data={"scale": "auto", "layout": "auto"}) == keys(SKLEARN)


def test_raw_pixels_have_no_scale() -> None:
    with pytest.raises(InputError, match="data: pixels and scale: .* received 'raw' and 16$"):
        studies.build(SKLEARN, data={"pixels": "raw", "scale": 16.0})


def test_settings_of_both_estimators_reach_what_they_are_for() -> None:
    mlp = SklearnMlp(hidden_layers=(3, 4), solver="sgd", batch_size=7)
    arguments = mlp.arguments()
    assert arguments["hidden_layer_sizes"] == (3, 4)
    assert (arguments["solver"], arguments["batch_size"]) == ("sgd", 7)
    assert not {"hidden_layers", "depth", "width"} & arguments.keys()
    named = KerasModel(model="mlp-324-108-bn").federated()
    assert (named.name, named.layers.batch_norm) == ("mlp-324-108-bn", True)
    given = KerasModel(depth=2, width=5, dropout=0.25, activation="tanh").federated()
    assert (given.name, given.hidden_layers, given.dropout) == ("layers", (5, 5), 0.25)


def test_sklearn_defaults_are_scikit_learns() -> None:
    from sklearn.neural_network import MLPClassifier

    own = MLPClassifier().get_params()
    for name, value in SklearnMlp().arguments().items():
        assert own[name] == value or name == "hidden_layer_sizes", name
    left = own.keys() - SklearnMlp().arguments().keys()
    assert left == {"random_state", "verbose", "warm_start"}


@pytest.mark.parametrize(
    ("base", "sections", "pattern"),
    [
        (
            SKLEARN,
            {"study": {"estimator": "sklearn"}},
            r"unknown estimator 'sklearn': did you mean",
        ),
        (
            SKLEARN,
            {"study": {"metrics": ["acuracy"]}},
            r"unknown metric 'acuracy': did you mean 'acc",
        ),
        (SKLEARN, {"study": {"metrics": []}}, r"one or more different metrics"),
        (SKLEARN, {"study": {"name": "../x"}}, r"study\.name: .*received '\.\./x'"),
        (SKLEARN, {"study": {"seeds": 0}}, r"study\.seeds: .*received 0"),
        (SKLEARN, {"study": {"sampling": "twice"}}, r"study\.sampling: .*received 'twice'"),
        (SKLEARN, {"study": {"sed": 1}}, r"study: unknown setting 'sed': did you mean 'seed'"),
        (
            SKLEARN,
            {"data": {"dataset": "minst"}},
            r"unknown data set 'minst': did you mean 'mnist'",
        ),
        (SKLEARN, {"data": {"validation_fraction": 1.0}}, r"validation_fraction: .*received 1\.0"),
        (SKLEARN, {"data": {"train_samples": -1}}, r"data\.train_samples: .*received -1"),
        (
            SKLEARN,
            {"axes": {"solvr": ["adam"]}},
            r"unknown axis of sklearn-mlp 'solvr': did you mean",
        ),
        (SKLEARN, {"axes": {"solver": []}}, r"axes\.solver: expected a list of at least one"),
        (SKLEARN, {"axes": {"solver": "adam"}}, r"axes\.solver: expected a list .*received 'adam'"),
        (SKLEARN, {"axes": {"alpha": [1.0, 1.0]}}, r"axes\.alpha: expected different values"),
        (SKLEARN, {"axes": {"solver": ["adamm"]}}, r"solver: input should be .*received 'adamm'"),
        (SKLEARN, {"axes": {"hidden_layers": [[0]]}}, r"hidden_layers: .*positive integers.*\[0\]"),
        (SKLEARN, {"axes": {"hidden_layers": [[-3]]}}, r"hidden_layers: .*positive integers"),
        (SKLEARN, {"axes": {"hidden_layers": [[2.5]]}}, r"hidden_layers: .*positive integers"),
        (SKLEARN, {"axes": {"hidden_layers": [[True]]}}, r"hidden_layers: .*positive integers"),
        (SKLEARN, {"axes": {"hidden_layers": [300]}}, r"hidden_layers: .*positive integers"),
        (SKLEARN, {"axes": {"hidden_layers": [["a"]]}}, r"hidden_layers: .*positive integers"),
        (SKLEARN, {"axes": {"depth": [2]}}, r"expected hidden_layers or depth, received both"),
        (SKLEARN, {"axes": {"batch_size": [0]}}, r'positive integer or "auto", received 0'),
        (SKLEARN, {"fixed": {"alpha": 1.0}}, r"alpha: expected in one of .*narrowed by --set"),
        (SKLEARN, {"fixed": {"max_itr": 1}}, r"unknown setting 'max_itr': did you mean 'max_iter'"),
        (SKLEARN, {"fixed": {"learning_rate_init": 0}}, r"learning_rate_init: .*received 0"),
        (SKLEARN, {"fixed": {"beta_1": float("nan")}}, r"beta_1: .*received nan"),
        (SKLEARN, {"axis": {}}, r"unknown section 'axis': did you mean 'axes'"),
        (SKLEARN, {"cases": [{"alpha": 1.0}]}, r"alpha: expected in one of"),
        (SKLEARN, {"cases": [{"tol": 1.0}, {"tol": 1.0}]}, r"received the same one twice"),
        (KERAS, {"fixed": {"epochs": 0}}, r"epochs: .*received 0"),
        (KERAS, {"axes": {"dropout": [1.0]}}, r"dropout: .*received 1\.0"),
        (KERAS, {"fixed": {"initialiser": "normal"}}, r"stddevs: expected 1 with 1 hidden"),
        (KERAS, {"fixed": {"model": "mlp"}}, r"expected model or layers in place, received both"),
        (
            KERAS,
            {"axes": {"hidden_layers": [[]]}, "fixed": {"stddevs": [1.0]}},
            r"stddevs: expected 0",
        ),
    ],
)
def test_bad_input_is_one_line(base: dict[str, Any], sections: dict, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern) as caught:
        studies.build(base, **sections)
    assert "\n" not in caught.value.line


def test_a_model_of_the_zoo_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="unknown model 'mlpp': did you mean 'mlp'"):
        studies.build(KERAS | {"axes": {}}, fixed={"model": "mlpp"})


def test_a_bare_key_finds_its_section() -> None:
    assert parse_setting("seeds=3") == ("study", "seeds", 3)
    assert parse_setting("train_samples = 10") == ("data", "train_samples", 10)
    assert parse_setting("max_iter=7") == ("fixed", "max_iter", 7)
    assert parse_setting("axes.solver=['adam']") == ("axes", "solver", ["adam"])
    for text in ("seeds", "=3", "a.=1"):
        with pytest.raises(InputError, match="--set .*: expected"):
            parse_setting(text)


def test_quick_lies_over_the_rest() -> None:
    tree = copy.deepcopy(SKLEARN) | {
        "quick": {"study": {"seeds": 1}, "axes": {"alpha": [2.0]}, "cases": [{"tol": 0.1}]}
    }
    before = copy.deepcopy(tree)
    small = variant(tree, quick=True)
    assert small["study"] == {"name": "small-quick", "estimator": "sklearn-mlp", "seeds": 1}
    assert small["axes"] == {"hidden_layers": [[8], [4, 6]], "alpha": [2.0]}
    assert small["cases"] == [{"tol": 0.1}]
    assert variant(tree, quick=False) == SKLEARN and tree == before
    with pytest.raises(InputError, match=r"--quick: expected a table \[quick\]"):
        variant(SKLEARN, quick=True)


def test_the_seven_studies_ship_with_the_values_of_the_originals() -> None:
    assert [path.stem for path in SHIPPED] == [
        "best_mlp",
        "mlp_activations",
        "mlp_alpha",
        "mlp_architectures",
        "mlp_depth",
        "mlp_regularisation",
        "mlp_solvers",
    ]
    full = {p.stem: parsing.build(variant(parsing.read(p), quick=False), p.name) for p in SHIPPED}
    counted = {name: len(studies_cases(study)) for name, study in full.items()}
    assert counted == {
        "best_mlp": 2,
        "mlp_activations": 20,
        "mlp_alpha": 25,
        "mlp_architectures": 5,
        "mlp_depth": 100,
        "mlp_regularisation": 9,
        "mlp_solvers": 15,
    }
    assert [case.settings.depth for case in studies_cases(full["mlp_depth"])] == [*range(100)]
    # The nine of study B are those of the zoo.
    zoo = [
        KerasModel(model=f"mlp-{'-'.join(map(str, stack))}{variant}").federated().layers
        for stack in STACKS
        for variant in ("", "-bn", "-bn-dropout")
    ]
    mine = [case.settings.federated() for case in studies_cases(full["mlp_regularisation"])]
    assert [model.model_dump(exclude={"name"}) for model in mine] == [
        layers.model_dump() | {} for layers in zoo
    ]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_study_has_a_quick_variant_on_digits(path: Path) -> None:
    small = parsing.build(variant(parsing.read(path), quick=True), path.name)
    assert small.data.dataset == "digits" and small.chooses


def studies_cases(study: parsing.Study) -> list[parsing.Case]:
    return parsing.cases(study, "")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("hidden_layers", (20, 200), "(20, 200)"),
        ("hidden_layers", (), "()"),
        ("batch_norm", True, "batch norm"),
        ("batch_norm", False, "no batch norm"),
        ("alpha", 1e-5, "alpha 1e-05"),
        ("solver", "adam", "adam"),
        ("depth", None, "no depth"),
    ],
)
def test_settings_read_well(name: str, value: Any, text: str) -> None:
    assert describe(name, value) == text
