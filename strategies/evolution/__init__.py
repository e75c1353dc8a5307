"""Evolution of hyperparameters: how genes start, vary, are ranked, and move.

``Assignment`` and ``Genome``, what strategies hand out, can be imported from here.
"""

from strategies.core.hyperparameters import Assignment, Genome

__all__ = ["Assignment", "Genome"]
