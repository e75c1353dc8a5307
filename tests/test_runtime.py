"""The settings that decide a run's bytes stand before TensorFlow is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True
    )


def test_settings_are_not_left_to_the_environment() -> None:
    code = "import fedgen, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert run(code, TF_ENABLE_ONEDNN_OPTS="0").stdout == "1\n"


TRAINED = """
import fedgen, hashlib, numpy
from fedgen import runtime
runtime.import_{engine}()
{before}
from fedgen.config.sections import Data, Training
from fedgen.data import datasets
from fedgen.engine import engines, models
from fedgen.engine.plan import Plan
digits = datasets.load(Data(dataset="digits"))
model = models.build("mlp-324-108-bn-dropout", (8, 8, 1), 10, 0)
engine = engines.build(Training(engine="{engine}"), model, digits, workers=1)
trained = engine.train(models.get_weights(model), Plan(1e-3, 8, numpy.arange(16)[None]))
print(hashlib.sha256(b"".join(weight.tobytes() for weight in trained.weights)).hexdigest())
"""


@pytest.mark.parametrize(
    ("engine", "names"),
    [
        ("tensorflow", {"TF_DETERMINISTIC_OPS": "1"}),
        ("jax", {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "0"}),
        ("jax", {"JAX_NUMPY_RANK_PROMOTION": "raise", "JAX_ENABLE_X64": "1"}),
        ("jax", {"JAX_DISABLE_JIT": "1"}),
    ],
)
def test_a_training_is_the_same_bytes_whatever_is_exported(
    engine: str, names: dict[str, str]
) -> None:
    code = TRAINED.format(engine=engine, before="")
    plain, other = run(code), run(code, **names)
    assert len(plain.stdout) == 65, plain.stderr
    assert other.stdout == plain.stdout, other.stderr


@pytest.mark.parametrize("platform", ["cuda", "foo"])
def test_a_platform_that_jax_does_not_have_is_one_line(platform: str) -> None:
    done = run("from fedgen import runtime; runtime.import_jax()", JAX_PLATFORMS=platform)
    last = done.stderr.splitlines()[-1]
    assert f"InputError: JAX has no device for JAX_PLATFORMS='{platform}'" in last


def test_determinism_that_refuses_a_clock_is_refused_in_one_line() -> None:
    switch = "import tensorflow; tensorflow.config.experimental.enable_op_determinism()"
    done = run(TRAINED.format(engine="tensorflow", before=switch))
    last = done.stderr.splitlines()[-1]
    assert "RunError: TensorFlow's op determinism is on" in last


STARTED = "TF_ENABLE_ONEDNN_OPTS=1 TF_NUM_INTRAOP_THREADS=1"

CASES = [
    ("", False, True),
    ("TF_ENABLE_ONEDNN_OPTS=0", False, True),
    ("TF_ENABLE_ONEDNN_OPTS=1", False, False),
    ("TF_ENABLE_ONEDNN_OPTS=1", True, True),
    (STARTED, True, False),
]
"""What was exported before fedgen was imported, whether TensorFlow had computed, what comes."""

FORKED = """
import os, tensorflow
for words, started, refused in {cases}:
    if os.fork() == 0:
        os.environ.update(word.split("=") for word in words.split())
        if started:
            tensorflow.constant(1)
        from fedgen import errors, runtime
        try:
            runtime.require()
        except errors.RunError as error:
            text = error.line
            assert text.startswith("TensorFlow was imported before fedgen"), text
            assert "TF_ENABLE_ONEDNN_OPTS=1" in text, text
            os._exit(10 + refused)
        os._exit(10 + (not refused))
    print(words or "nothing", started, os.waitstatus_to_exitcode(os.wait()[1]) == 11)
"""


def test_a_tensorflow_with_other_settings_is_refused() -> None:
    """Its processes are forked from one that has imported it, and computed nothing."""
    done = run(FORKED.format(cases=CASES), TF_CPP_MIN_LOG_LEVEL="3")
    told = [f"{words or 'nothing'} {started} True" for words, started, _ in CASES]
    assert done.stdout.splitlines() == told, done.stdout + done.stderr


def test_keras_computes_with_what_is_chosen_and_nothing_is_chosen_before(tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    code = (
        "import fedgen, os; from fedgen import runtime; print('KERAS_BACKEND' in os.environ)\n"
        "runtime.import_tensorflow(); import keras; print(keras.config.backend())\n"
        "runtime.require(); keras.config.backend = lambda: 'jax'; runtime.require()"
    )
    done = run(code, KERAS_HOME=str(tmp_path))
    assert done.stdout == "False\ntensorflow\n"
    assert "RunError: Keras was imported with the back end 'jax'" in done.stderr


def test_importing_tensorflow_is_silent_and_a_failure_is_not() -> None:
    good = run("from fedgen import runtime; runtime.import_tensorflow()")
    assert (good.returncode, good.stderr) == (0, "")
    code = (
        "import sys, os; sys.modules.pop('tensorflow', None)\n"
        "class Broken:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'tensorflow': os.write(2, b'why\\n'); raise ImportError('broken')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from fedgen import runtime; runtime.import_tensorflow()"
    )
    bad = run(code)
    assert bad.stderr.startswith("why\n") and "ImportError: broken" in bad.stderr
