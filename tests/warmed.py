"""What the server that forks commands has imported: see ``warm``. It has computed nothing."""

import os

from fedgen import runtime

if os.environ.get("FEDGEN_TEST_ENGINE") == "jax":
    os.environ["KERAS_BACKEND"] = "jax"
    import fedgen.engine.jax.engine
else:
    runtime.import_tensorflow()
    import fedgen.engine.tensorflow.engine

import sklearn.cluster  # noqa: E402
import sklearn.datasets  # noqa: E402, F401

import fedgen.cli  # noqa: E402
import fedgen.comparison.flow  # noqa: E402
import fedgen.comparison.progress.live  # noqa: E402
import fedgen.report.pages  # noqa: E402, F401
