"""fedgen comes before TensorFlow in every test: it decides the settings TensorFlow starts with."""

from hypothesis import settings

import fedgen  # noqa: F401

settings.register_profile("test", max_examples=100, deadline=None)
settings.register_profile("soak", max_examples=10_000, deadline=None, print_blob=True)
settings.load_profile("test")
