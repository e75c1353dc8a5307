"""What ``init`` writes: a config, a model and a strategy, to be changed by whoever starts."""
