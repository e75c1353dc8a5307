"""The engine on JAX against the one on TensorFlow: from the same weights to the same weights."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import parity
import pytest


@pytest.fixture(scope="module")
def on_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    file = tmp_path_factory.mktemp("parity") / "trained.npz"
    tests = Path(parity.__file__).parent
    others = ("FEDGEN_TEST_ENGINE", "KERAS_BACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment["PYTHONPATH"] = os.pathsep.join([str(tests.parent), str(tests)])
    command = [sys.executable, "-m", "parity", str(file)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(file, allow_pickle=False) as bundle:
        return dict(bundle)


@pytest.mark.parametrize("name", parity.CASES)
def test_engines_come_to_the_same(name: str, on_tensorflow: dict[str, np.ndarray]) -> None:
    case = parity.CASES[name]
    found = parity.figures(parity.train(case))
    wanted = {key: on_tensorflow[f"{name}/{key}"] for key in found}
    assert found["steps"] == wanted["steps"] == 2 * -(-75 // case.batch)
    for key, value in found.items():
        # Adam makes steps of gradients that are nothing but rounding, as before a normalisation.
        atol = 2e-5 if case.optimizer == "sgd" else 5e-5
        np.testing.assert_allclose(value, wanted[key], atol=atol, rtol=1e-4, err_msg=key)
