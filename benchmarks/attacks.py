"""Final accuracy under attack: 0, 1 and 3 of 10 clients, per aggregation and attack.

FedAvg (rate 1e-3, batch 32, 2 local epochs) with the model `mlp` on digits, all ten clients in
every round, 20 rounds, 3 seeds. An attacker sends its step in the opposite direction (`sign_flip`)
or ten times as long (`scale`); which clients attack is drawn anew each round. Krum is told
the number of attackers, the trimmed mean cuts off as many at each end (one, where there is none).
"""

import tempfile
from pathlib import Path
from typing import Any

import benchmarks
from fedgen import runtime

CLIENTS, ROUNDS, SEEDS = 10, 20, 3
AGGREGATIONS = ("mean", "median", "trimmed-mean", "krum", "clipped-mean")
ATTACKS = ("sign_flip", "scale")
ATTACKERS = (1, 3)


def measure() -> dict[str, Any]:
    """Play all combinations; without attackers the attack does not matter."""
    runtime.import_tensorflow()
    rows = []
    for aggregation in AGGREGATIONS:
        rows.append(_play(aggregation, "none", 0))
        rows += [
            _play(aggregation, attack, attackers) for attack in ATTACKS for attackers in ATTACKERS
        ]
    return {"clients": CLIENTS, "rounds": ROUNDS, "seeds": SEEDS, "runs": rows}


def _play(aggregation: str, attack: str, attackers: int) -> dict[str, Any]:
    from fedgen.comparison import flow, opening
    from fedgen.config.tree import build
    from fedgen.federation.resources import Resources
    from fedgen.runs.watch import Watcher

    reckoned = max(attackers, 1)
    config = build(
        {
            "data": {"dataset": "digits"},
            "partition": {"clients": CLIENTS},
            "cohort": {"fraction": 1.0},
            "model": {"name": "mlp"},
            "fedavg": {"learning_rate": 1e-3},
            "aggregation": {"kind": aggregation, "f": reckoned, "trim": reckoned / CLIENTS},
            "faults": {attack: attackers} if attackers else {},
            "run": {"rounds": ROUNDS, "seeds": SEEDS, "strategies": ["fedavg"]},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        held = Resources(config)
        with opening.created(held, Path(folder) / "run") as run:
            summary = flow.play(run, held, Watcher())
    accuracy = summary["strategies"]["fedavg"]["final_accuracy"]
    return {
        "aggregation": aggregation,
        "attack": attack,
        "attackers": attackers,
        "final_accuracy": round(accuracy["mean"], 4),
        "values": [round(value, 4) for value in accuracy["values"]],
    }


if __name__ == "__main__":
    runtime.restart_with_huge_pages()
    benchmarks.main(measure, __doc__)
