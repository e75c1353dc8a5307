"""What every test's process begins with: fedgen before TensorFlow, and the back end of Keras.

A process has one back end. Tests run on TensorFlow, and with ``FEDGEN_TEST_ENGINE=jax`` those that
hold of every engine run on JAX, with its own.
"""

import os

from hypothesis import settings

import fedgen  # noqa: F401
from fedgen import runtime

settings.register_profile("test", max_examples=100, deadline=None)
settings.register_profile("soak", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile("test")

if os.environ.get("FEDGEN_TEST_ENGINE") == "jax":
    runtime.import_jax()
    collect_ignore = ["engine/tensorflow"]
else:
    collect_ignore = ["engine/jax"]
