"""A model given in place, or by a file whose content the config takes over."""

from pathlib import Path

import pytest

from fedgen.config.tree import build, dump
from fedgen.errors import InputError

GIVEN = {"name": "layers", "hidden_layers": [30, 20], "activation": "tanh", "dropout": 0.5}
FILE = 'name = "layers"\nhidden_layers = [30, 20]\nactivation = "tanh"\ndropout = 0.5\n'


def test_the_content_of_a_model_file_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(f"[model]\n{FILE}")
    config = build({"model": {"name": str(path)}})
    assert config == build({"model": GIVEN})
    assert dump(config)["model"].items() >= GIVEN.items()
    assert config.model.title == "mlp (30, 20) tanh"
    beside = build({"model": {"name": str(path), "dropout": 0.0}})
    assert (beside.model.dropout, beside.model.hidden_layers) == (0.0, (30, 20))
    path.unlink()
    assert build(dump(config)) == config, "the file is needed no more"


def test_a_model_of_the_zoo_is_written_by_its_name_alone() -> None:
    assert dump(build({"model": {"name": "mlp"}}))["model"] == {"name": "mlp"}


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("", "expected one table .model., .* received an empty file"),
        ("[run]\nrounds = 3\n", "expected one table .model., .* received run"),
        ("model = 3\n", "expected one table .model."),
        ('[model]\nname = "other.toml"\n', "received 'other.toml', a file"),
        (
            "[model]\nhidden_layers = [3]\n",
            "hidden_layers: needs name 'layers', received name 'cnn'",
        ),
        ('[model]\nname = "layers"\nhidden_layers = [0]\n', r"positive integers, received \[0\]"),
        ('[model]\nname = "layers"\nhiden_layers = [3]\n', "did you mean 'hidden_layers'"),
        (
            '[model]\nname = "layers"\ninitialiser = "normal"\nhidden_layers = [3]\n',
            "stddevs: expe",
        ),
        ("[model", "not valid TOML"),
    ],
)
def test_bad_model_files_are_told(content: str, pattern: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(content)
    with pytest.raises(InputError, match=pattern):
        build({"model": {"name": str(tmp_path / "m.toml")}})


def test_a_model_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match="nothere.toml: cannot be read"):
        build({"model": {"name": "nothere.toml"}})
