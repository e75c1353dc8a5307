"""fedgen comes before TensorFlow in every test: it decides the settings TensorFlow starts with."""

import fedgen  # noqa: F401
