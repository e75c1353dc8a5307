"""Which engine trains: by settings, by what is installed and by what device there is."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from runs import FLAGS, finish, play, start

from fedgen import runtime
from fedgen.config.sections import Training
from fedgen.config.tree import build
from fedgen.engine import engines, models
from fedgen.errors import InputError

Pretend = Callable[..., None]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Pretend that packages are missing or there, and which device JAX finds."""

    def pretend(
        jax: bool = True, plugin: bool = False, device: str = "CPU", tensorflow: bool = True
    ) -> None:
        known = {"jax": jax, "jax_plugins": plugin, "tensorflow": tensorflow}
        spec = {name: object() if there else None for name, there in known.items()}
        monkeypatch.setattr(engines, "find_spec", lambda name: spec[name])
        monkeypatch.setattr(engines, "_jax_device", lambda: device)
        monkeypatch.setattr(engines, "_tensorflow_device", lambda: device)
        monkeypatch.setattr(engines, "start", lambda training: None)
        monkeypatch.setattr(runtime, "loaded_backend", lambda: None)

    return pretend


@pytest.mark.parametrize(
    ("jax", "plugin", "device", "chosen"),
    [
        (False, False, "CPU", "tensorflow"),
        (True, False, "GPU (of no use)", "tensorflow"),  # not asked: there is no plugin
        (True, True, "CPU", "tensorflow"),
        (True, True, "GPU (NVIDIA H200)", "jax"),
    ],
)
def test_auto_is_jax_where_it_sees_a_gpu(
    here: Pretend, jax: bool, plugin: bool, device: str, chosen: str
) -> None:
    here(jax, plugin, device)
    assert engines.settled(Training()).engine == chosen
    assert engines.settled(Training(engine="tensorflow")).engine == "tensorflow"


@pytest.mark.parametrize("loaded", ["tensorflow", "jax"])
def test_auto_is_the_engine_of_the_keras_that_is_there(
    here: Pretend, monkeypatch: pytest.MonkeyPatch, loaded: str
) -> None:
    """A second comparison in one process, or one whose Keras somebody else has imported."""
    here(True, True, "GPU (NVIDIA H200)" if loaded == "tensorflow" else "CPU")
    monkeypatch.setattr(runtime, "loaded_backend", lambda: loaded)
    assert engines.settled(Training()).engine == loaded


def test_one_of_them_is_enough(here: Pretend) -> None:
    here(jax=True, tensorflow=False)
    assert engines.settled(Training()).engine == "jax"
    with pytest.raises(InputError, match="TensorFlow is not installed; install it with pip"):
        engines.settled(Training(engine="tensorflow"))


@pytest.mark.parametrize(
    ("settings", "jax", "line"),
    [
        ({"engine": "jax"}, False, r"JAX is not installed; install it with pip install 'fedgen\["),
        ({"precision": "bfloat16"}, True, "the engine 'tensorflow' has 'float32' and"),
        ({"precision": "tf32"}, True, "TensorFlow sees none; expected 'float32' on a CPU"),
        ({"precision": "tf32", "engine": "jax"}, True, "JAX sees none; expected 'float32'"),
    ],
)
def test_what_cannot_be_had_is_one_line_with_what_to_do(
    here: Pretend, settings: dict[str, str], jax: bool, line: str
) -> None:
    here(jax)
    with pytest.raises(InputError, match=line):
        engines.settled(Training(**settings))


def test_a_gpu_has_every_precision(here: Pretend) -> None:
    here(True, True, "GPU (NVIDIA H200)")
    for engine, precision in (("tensorflow", "tf32"), ("jax", "tf32"), ("jax", "bfloat16")):
        training = Training(engine=engine, precision=precision)
        assert engines.settled(training) == training


def test_unknown_ones_name_those_that_there_are() -> None:
    for key, value in (("engine", "torch"), ("precision", "float16")):
        with pytest.raises(InputError, match=rf"training\.{key}: .*'tf32'|'jax'.*{value!r}"):
            build({"training": {key: value}})


def test_the_engine_is_part_of_what_a_run_was_made_with(tmp_path: Path) -> None:
    run = play(tmp_path / "run", run={"rounds": 1, "strategies": ["fedavg"]})
    name = run.config.training.engine
    assert name in ("tensorflow", "jax")  # never auto
    assert run.provenance["engine"] == f"{name} {version(name)} on CPU, float32"
    assert f"{name} {version(name)} on CPU" in (run.path / "report.html").read_text()
    config = run.path / "config.toml"
    for old, new in (
        ("on CPU, float32", "on GPU (NVIDIA H200), float32"),
        ('precision = "float32"', 'precision = "bfloat16"'),
    ):
        kept = config.read_text()
        assert old in kept
        config.write_text(kept.replace(old, new))
        code, _, err = finish(start(["resume", "run", "--rounds=2"], tmp_path))
        assert (code, len(err.splitlines())) == (2, 1)
        config.write_text(kept)
    assert finish(start(["resume", "run", "--rounds=2", "--quiet"], tmp_path))[0] == 0


def test_the_first_line_names_engine_device_and_precision(tmp_path: Path) -> None:
    code, out, _ = finish(start(["compare", *FLAGS, "--rounds=1", "--out=run"], tmp_path))
    assert code == 0
    name = models.keras.config.backend()
    assert out.splitlines()[0] == f"engine: {name} {version(name)} on CPU, float32"


WEIGHTS = {
    "cnn": "5f85b481eef2",
    "cnn-mnist": "03673fbc2bc9",
    "cnn-small": "4df3fdd0dd98",
    "mlp": "de5e0f74333f",
    "mlp-324-108-bn-dropout": "cb2b27644c5e",
    "resnet-small-gn": "e1796f8df055",
    "lstm-small": "4e41bbac41dd",
    "transformer": "092677eea2c9",
}


TOKENS = ("lstm-small", "transformer")


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_seed_s_weights_are_the_same_bytes_on_every_engine(name: str) -> None:
    """The digests hold in every test process, whatever back end it has."""
    shape, vocabulary = ((16,), 30) if name in TOKENS else ((8, 8, 1), 0)
    weights = models.get_weights(models.build(name, shape, 10, 3, vocabulary=vocabulary))
    assert models.digest(weights).startswith(WEIGHTS[name])
