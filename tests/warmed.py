"""What the server that forks commands has imported: see ``warm``."""

from fedgen import runtime

runtime.import_tensorflow()

import sklearn.cluster  # noqa: E402
import sklearn.datasets  # noqa: E402, F401

import fedgen.cli  # noqa: E402
import fedgen.comparison.flow  # noqa: E402
import fedgen.comparison.progress  # noqa: E402
import fedgen.engine.tensorflow.engine  # noqa: E402
import fedgen.report.pages  # noqa: E402, F401
