"""One deployment over bad lines: what a round costs, and what a minute without a line does.

A SuperLink and two SuperNodes, each on a host of its own (see ``hosts``), with TLS and node keys,
play FedAvg on digits with ``mlp``: 39 kB down and 39 kB up for each client in a round. The lines
of all SuperNodes change from round to round, in turn, so that what else the machine does meets
them all alike; every line has its turn ``REPEATS`` times. Then one SuperNode is cut off for a
minute while it trains.

Counted: ``*_seconds`` is the median of a line's rounds as the server sees them, with what a
SuperNode needs to start a process for the message; ``*_ratio`` is the median of how many times as
long a round took as the one without impairment in the same turn, which comes first. ``*_lost`` is
how many replies were missing. ``outage_*``: rounds in which the client counted as failed, seconds
of the round in which it was cut off, and seconds from the line's return to the end of the first
round with all replies (-1: there was none).
"""

import statistics
import tempfile
import time
from pathlib import Path

import benchmarks
from benchmarks.hosts import Hosts, Line
from benchmarks.spread import Play, Spread, host_of, wait_for_training
from fedgen.runs.rows import RoundRow

CLIENTS, REPEATS = 2, 2
LINES = {
    "plain": Line(),
    "loss_1_percent": Line(loss=0.01),
    "loss_5_percent": Line(loss=0.05),
    "delay_50_ms": Line(delay=0.05, jitter=0.01),
    "delay_200_ms": Line(delay=0.2, jitter=0.04),
    "rate_10_mbit": Line(rate=10e6),
}
CUT = Line(loss=1.0)
OUTAGE_SECONDS, OUTAGE_ROUNDS = 60.0, 5
DEADLINE_SECONDS = 60.0
"""Of a client's training, or a message that got lost would be waited for without an end."""


def measure() -> dict[str, float]:
    """Return the figures of all lines, and of the outage."""
    turns = [name for _ in range(REPEATS) for name in LINES]
    last = len(turns) + 1  # round 1 starts what later ones find
    nodes = [host_of(partition) for partition in range(CLIENTS)]
    with tempfile.TemporaryDirectory() as folder, Hosts(CLIENTS + 1) as hosts:
        with Spread(hosts) as flower:
            for partition in range(CLIENTS):
                flower.add_node(partition, CLIENTS)
            text = f"dataset='digits' model='mlp' clients={CLIENTS} fraction=1.0 strategy='fedavg'"
            text += f" rounds={last + OUTAGE_ROUNDS} set='training.deadline={DEADLINE_SECONDS:g}'"
            play = Play(flower, text, Path(folder) / "run")
            for turn, name in enumerate(turns):
                play.wait_for(turn + 1)
                hosts.set(LINES[name], *nodes)
            play.wait_for(last)
            hosts.set(LINES["plain"], *nodes)
            wait_for_training(hosts, 0, time.time())
            hosts.set(CUT, nodes[0])
            time.sleep(OUTAGE_SECONDS)
            hosts.set(LINES["plain"], nodes[0])
            back = time.monotonic()
            ends = []
            for round_ in range(OUTAGE_ROUNDS):
                play.wait_for(last + 1 + round_)
                ends.append(time.monotonic() - back)
            rows = play.finish()
    return _lines(turns, rows[1:last]) | _outage(rows[last:], ends)


def _lines(turns: list[str], rows: list[RoundRow]) -> dict[str, float]:
    by_line = {name: [r for t, r in zip(turns, rows, strict=True) if t == name] for name in LINES}
    plain = by_line["plain"]
    found: dict[str, float] = {"repeats": REPEATS}
    for name, of_line in by_line.items():
        ratios = [row.seconds / base.seconds for row, base in zip(of_line, plain, strict=True)]
        found[f"{name}_seconds"] = round(statistics.median(row.seconds for row in of_line), 1)
        found[f"{name}_ratio"] = round(statistics.median(ratios), 2)
        found[f"{name}_lost"] = sum(row.failed for row in of_line)
    return found


def _outage(rows: list[RoundRow], ends: list[float]) -> dict[str, float]:
    whole = [round_ for round_, row in enumerate(rows) if not row.failed]
    return {
        "outage_lost": sum(row.failed for row in rows),
        "outage_round_seconds": round(rows[0].seconds, 1),
        "outage_seconds_to_a_whole_round": round(max(0.0, ends[whole[0]]), 1) if whole else -1,
    }


if __name__ == "__main__":
    benchmarks.main(measure, __doc__)
