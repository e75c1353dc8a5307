"""What is about to be done, in a line: told before TensorFlow or JAX takes its seconds to start."""

from fedgen.config.tree import Config


def planned(config: Config, names_dataset: bool = True, rounds: int | None = None) -> str:
    """Return what a comparison is about to do.

    Args:
        config: Every setting.
        names_dataset: Whether the data set will do alone: another may take its place if not.
        rounds: How many, if not as many as the config says.
    """
    run = config.run
    sizes = [_count(len(run.strategies), "strategy", "strategies")]
    if run.seeds > 1:
        sizes.append(f"{run.seeds} seeds")
    data = config.data.dataset if names_dataset else f"{config.data.dataset} if it can be had"
    told = [
        " x ".join(sizes),
        _count(rounds or run.rounds, "round", "rounds")
        + (f" or {run.budget}" if run.budget else ""),
        data,
        config.model.name,
        _count(config.partition.clients, "client", "clients"),
    ]
    engine = config.training.engine
    return f"{', '.join(told)}; starting {'the engine' if engine == 'auto' else engine}"


def _count(number: int, one: str, more: str) -> str:
    return f"{number} {one if number == 1 else more}"
