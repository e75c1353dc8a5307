"""A study: what is fitted on what, parsed from TOML once, and its cases with their hashes."""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from fedgen.config import plugins, toml
from fedgen.config.base import Section, as_tuple, explain
from fedgen.config.sections import Data, Training
from fedgen.config.toml import Tree, read_toml
from fedgen.config.tree import names
from fedgen.data.inputs import AUTO
from fedgen.engine import engines
from fedgen.errors import InputError, unknown
from fedgen.study.estimators import ESTIMATORS, Settings
from strategies.core.settings import BelowOne, Count

METRICS = {
    "accuracy": "test accuracy",
    "precision": "macro precision",
    "recall": "macro recall",
    "zero_one_loss": "zero-one loss",
    "validation_accuracy": "validation accuracy",
    "train_accuracy": "train accuracy",
    "train_seconds": "seconds to train",
    "predict_seconds": "seconds to predict",
}
"""What a study can show of its cases, and what people call it."""

Sampling = Literal["split", "with-replacement"]


class About(Section):
    """What a study is."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    """What its directory is called."""
    estimator: str
    """sklearn-mlp or keras."""
    seeds: Annotated[int, Field(ge=1, le=100_000)] = 1
    """Repeats of every case: initial weights, batch order and dropout differ, the data do not."""
    seed: Count = 0
    """First seed; it draws the split as well."""
    engine: Literal["auto", "tensorflow", "jax"] = "auto"
    """What trains Keras models, as training.engine does in a comparison."""
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    """What their products are computed in, as training.precision."""
    sampling: Sampling = "split"
    """Disjoint sets, or rows drawn with replacement for both, which leaks."""
    metrics: Annotated[tuple[str, ...], BeforeValidator(as_tuple)] = (
        "accuracy",
        "precision",
        "recall",
        "zero_one_loss",
        "train_seconds",
        "predict_seconds",
    )
    """What study.html draws, a panel each."""

    @field_validator("estimator")
    @classmethod
    def _estimator(cls, name: str) -> str:
        if name not in ESTIMATORS:
            raise ValueError(str(unknown("estimator", name, ESTIMATORS)))
        return name

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METRICS:
                raise ValueError(str(unknown("metric", name, METRICS)))
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected one or more different metrics, received {list(names)}")
        return names


class StudyData(Data):
    """What is fitted and tested on."""

    dataset: str = "mnist"
    """The name of a known data set, the path of a file or folder, or hf:NAME."""
    test_fraction: BelowOne = 0.0
    """Share of all images that is the test set, drawn at random; 0 for the data set's own one."""
    train_samples: Count = 0
    """How many of the other images there are, drawn at random; 0 for all."""
    validation_fraction: BelowOne = 0.0
    """Share of those that trains nobody and chooses the best; 0 where nothing is chosen."""
    pixels: Literal["unit", "raw"] = "unit"
    """Scaled to [0, 1], or as they are stored (0 to 255, or 0 to 16 in digits)."""

    @model_validator(mode="after")
    def _one_scale(self) -> "StudyData":
        if self.pixels == "raw" and self.scale != AUTO:
            raise ValueError(
                f"pixels and scale: expected 'unit' with a scale, received 'raw' and {self.scale:g}"
            )
        return self

    @property
    def identity(self) -> Tree:
        """What decides the images of a given data set; settings that came later, if they are set.

        So cases keep the hashes, and studies the directories, that they had before.
        """
        later = (*("scale", "layout", "standardise", "targets"), *("labels", "target", "client"))
        kept = self.model_dump(exclude={"dataset", "data_dir", *later})
        usual = {name: type(self).model_fields[name].default for name in later}
        found = self.model_dump(include={*later})
        return kept | {name: value for name, value in found.items() if value != usual[name]}


class Study(Section):
    """A study as its file describes it; settings are checked case by case."""

    study: About
    data: StudyData = StudyData()
    fixed: dict[str, Any] = {}
    axes: dict[str, Any] = {}
    cases: list[dict[str, Any]] = []

    @model_validator(mode="after")
    def _axes_have_values(self) -> "Study":
        known = ESTIMATORS[self.study.estimator].model_fields
        listed = {key for case in self.cases for key in case}
        for key, values in self.axes.items():
            if key not in known:
                raise ValueError(str(unknown(f"axis of {self.study.estimator}", key, known)))
            if not isinstance(values, list) or not values:
                raise ValueError(
                    f"axes.{key}: expected a list of at least one value, received {values!r}"
                )
            if any(value in values[:index] for index, value in enumerate(values)):
                raise ValueError(f"axes.{key}: expected different values, received {values}")
        for key in sorted(
            self.axes.keys() & (self.fixed.keys() | listed) | self.fixed.keys() & listed
        ):
            raise ValueError(
                f"{key}: expected in one of [fixed], [axes] and [[cases]], received in two; "
                f"an axis is narrowed by --set 'axes.{key}=[VALUE]'"
            )
        return self

    @property
    def varied(self) -> list[str]:
        """The settings that differ between cases: listed ones, then axes, in the file's order."""
        return list(dict.fromkeys([*(key for case in self.cases for key in case), *self.axes]))

    @property
    def seeds(self) -> range:
        """The repeats."""
        return range(self.study.seed, self.study.seed + self.study.seeds)

    @property
    def training(self) -> Training:
        """The engine that trains Keras models."""
        return Training(engine=self.study.engine, precision=self.study.precision)

    def trained_by(self, training: Training) -> "Study":
        """Return the study with another engine."""
        own = {"engine": training.engine, "precision": training.precision}
        return self.model_copy(update={"study": self.study.model_copy(update=own)})

    @property
    def leaks(self) -> bool:
        """Whether test images are among the training images."""
        return self.study.sampling == "with-replacement"

    @property
    def chooses(self) -> bool:
        """Whether there is a share of the training set to choose by."""
        return self.data.validation_fraction > 0


@dataclass(frozen=True)
class Case:
    """One setting of everything; its repeats differ in the seed alone.

    Attributes:
        key: Hash of the estimator, its settings, the code of a model of the user's own, and how the
            data are drawn.
        settings: Of the estimator, complete.
        varied: Names and values of those that the study varies.
    """

    key: str
    settings: Settings
    varied: tuple[tuple[str, Any], ...]

    @property
    def title(self) -> str:
        """What people call it."""
        texts = (describe(name, value) for name, value in self.varied)
        return ", ".join(text for text in texts if text) or "the only case"


def describe(name: str, value: Any) -> str:
    """Return a setting as people read it: (300, 250), sgd, alpha 0.1, batch norm."""
    if name in ("hidden_layers", "stddevs"):
        text = f"({', '.join(f'{part:g}' for part in value)})"
        return text if name == "hidden_layers" else f"stddevs {text}" if value else ""
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name.replace('_', ' ')}"
    if isinstance(value, str):
        return value
    return f"{name.replace('_', ' ')} {value:g}" if value is not None else f"no {name}"


def read(path: Path) -> Tree:
    """Read a study's file; its quick variant is checked as well as the full one.

    Raises:
        InputError: If it cannot be read, or is not a study.
    """
    tree = read_toml(path)
    tree.pop("provenance", None)  # of a study's own study.toml, which goes on with it
    compared = [name for name in tree if name in names() and name != "data"]
    if "study" not in tree and compared:
        raise InputError(
            f"{path}: expected a table [study], received [{compared[0]}], which is of a "
            f"comparison; run it with: python -m fedgen compare {path}"
        )
    build(variant(tree, quick=False), str(path))
    if "quick" in tree:
        build(variant(tree, quick=True), f"{path}: quick")
    return tree


def variant(tree: Tree, *, quick: bool) -> Tree:
    """Return a study without its ``[quick]`` table, or with it laid over the rest.

    Raises:
        InputError: If there is no such table, or it is none.
    """
    full = {name: part for name, part in tree.items() if name != "quick"}
    if not quick:
        return full
    small = tree.get("quick")
    if not isinstance(small, dict) or not small:
        raise InputError(
            "--quick: expected a table [quick] in the study's file, with what differs there"
        )
    for name, part in small.items():
        laid_over = isinstance(part, dict) and isinstance(full.get(name), dict)
        full[name] = full[name] | part if laid_over else part
    about = full.get("study")
    if isinstance(about, dict):
        full["study"] = about | {"name": f"{about.get('name', 'study')}-quick"}
    return full


def parse_setting(text: str) -> tuple[str, str, Any]:
    """Split ``KEY=VALUE``: a dotted key as it is, a bare one in the section that knows it.

    Raises:
        InputError: If the text has another form.
    """
    name = text.partition("=")[0].strip()
    if "=" not in text or not name:
        raise InputError(f"--set {text!r}: expected KEY=VALUE, as in seeds=3 or fixed.max_iter=50")
    if "." in name:
        return toml.parse_setting(text)
    sections: dict[str, type[Section]] = {"study": About, "data": StudyData}
    # validation_fraction is the study's here; scikit-learn's is fixed.validation_fraction.
    section = next((key for key, kind in sections.items() if name in kind.model_fields), "fixed")
    return toml.parse_setting(f"{section}.{text.strip()}")


def build(tree: Mapping[str, Any], where: str) -> Study:
    """Check a tree of settings, every case included.

    Raises:
        InputError: One line that names the first wrong setting, what was
            expected and what was received.
    """
    try:
        study = Study.model_validate(tree)
    except ValidationError as error:
        problem = error.errors()[0]
        kinds: dict[str, type[Section]] = {"study": About, "data": StudyData}
        path = [str(part) for part in problem["loc"]]
        kind = Study if len(path) < 2 else kinds.get(path[0], Study)
        raise InputError(f"{where}: {explain(problem, kind.model_fields)}") from error
    found = cases(study, "", where)
    if len({case.key for case in found}) < len(found):
        raise InputError(f"{where}: expected different cases, received the same one twice")
    # The engine that "auto" is here: the study's directory and its fits are of that one.
    keras = study.study.estimator == "keras"
    return study.trained_by(engines.settled(study.training)) if keras else study


def cases(study: Study, fingerprint: str, where: str = "study") -> list[Case]:
    """Return the cases of a study: every listed one with every point of the grid of axes.

    Args:
        study: The study.
        fingerprint: Of its data set; a case's hash depends on it.
        where: What an error is about.

    Raises:
        InputError: Naming the case and the setting that is wrong.
    """
    basis = {
        "estimator": study.study.estimator,
        "fingerprint": fingerprint,
        "sampling": study.study.sampling,
        "seed": study.study.seed,
        **study.data.identity,
    }
    grid = itertools.product(*study.axes.values())
    points = [dict(zip(study.axes, values, strict=True)) for values in grid]
    return [
        _case(study, basis, listed | point, where)
        for listed in study.cases or [{}]
        for point in points
    ]


def _case(study: Study, basis: Tree, given: Tree, where: str) -> Case:
    kind = ESTIMATORS[study.study.estimator]
    try:
        settings = kind.model_validate(study.fixed | given)
    except ValidationError as error:
        problem = error.errors()[0]
        case = f"{study.study.estimator}, {_given(given)}" if given else study.study.estimator
        explained = explain(problem, kind.model_fields, "setting")
        raise InputError(f"{where}: {case}: {explained}") from error
    name = getattr(settings, "model", "")
    found = plugins.code_of(name)
    code = {"code": found} if found else {}
    text = json.dumps(basis | code | {"settings": settings.model_dump(mode="json")}, sort_keys=True)
    return Case(
        key=hashlib.sha256(text.encode()).hexdigest()[:12],
        settings=settings,
        varied=tuple((name, getattr(settings, name)) for name in study.varied),
    )


def _given(settings: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} = {json.dumps(value, default=str)}" for name, value in settings.items()
    )


def columns(study: Study) -> Sequence[str]:
    """Return the names of all settings of a study's estimator."""
    return list(ESTIMATORS[study.study.estimator].model_fields)
