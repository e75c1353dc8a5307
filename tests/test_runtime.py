"""The settings that decide a run's bytes stand before TensorFlow is imported."""

import os
import subprocess
import sys

import pytest


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "KERAS_"))}
    return subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True
    )


def test_settings_are_not_left_to_the_environment() -> None:
    code = "import fedgen, os; print(os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    assert run(code, TF_ENABLE_ONEDNN_OPTS="0").stdout == "1\n"


@pytest.mark.parametrize(
    ("environment", "first", "refused"),
    [
        ({}, "", True),
        ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "", True),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, "", False),
        ({"TF_ENABLE_ONEDNN_OPTS": "1"}, "tensorflow.constant(1)", True),
        (
            {"TF_ENABLE_ONEDNN_OPTS": "1", "TF_NUM_INTRAOP_THREADS": "1"},
            "tensorflow.constant(1)",
            False,
        ),
    ],
)
def test_a_tensorflow_with_other_settings_is_refused(
    environment: dict[str, str], first: str, refused: bool
) -> None:
    code = f"import tensorflow\n{first}\nfrom fedgen import runtime\nruntime.require()"
    done = run(code, TF_CPP_MIN_LOG_LEVEL="3", **environment)
    assert (done.returncode != 0) == refused, done.stderr
    if refused:
        assert "RunError: TensorFlow was imported before fedgen" in done.stderr
        assert "TF_ENABLE_ONEDNN_OPTS=1" in done.stderr


def test_keras_computes_with_what_is_chosen_and_nothing_is_chosen_before() -> None:
    code = "import fedgen, os; from fedgen import runtime; print('KERAS_BACKEND' in os.environ);"
    late = "runtime.import_tensorflow(); import keras; print(keras.config.backend())"
    assert run(code + late, KERAS_HOME="/nowhere").stdout == "False\ntensorflow\n"
    other = "keras.config.backend = lambda: 'jax'; runtime.require()"
    refused = run(f"{code} {late}; {other}")
    assert "RunError: Keras was imported with the back end 'jax'" in refused.stderr


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
