"""How genes are judged from evaluations that are noisy: ranks over rounds, races, ages."""
