"""What is known of how well every client's genes do: losses, ranks over rounds, ages."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from strategies.core.hyperparameters import Genome
from strategies.core.outcomes import RoundOutcome
from strategies.evolution.history import History, averages
from strategies.evolution.history import remember as remember_losses
from strategies.evolution.judges import ages
from strategies.evolution.judges.racing import beaten, leader
from strategies.evolution.judges.ranks import Record, Records, forget, ranks, remember
from strategies.evolution.moves.differential import relative
from strategies.tuning.settings import Evolving


class Judge:
    """Takes in what clients report, and says by what they are ranked.

    Args:
        settings: Whose ``fitness_window``, ``rank_halflife``, ``racing`` and ``age_limit`` say how.

    Attributes:
        losses: What members are ranked by, of every one that has something; lower is better.
        latest: Members whose loss is of the latest round.
    """

    def __init__(self, settings: Evolving) -> None:
        self.settings = settings
        self.losses: dict[int, float] = {}
        self.latest: set[int] = set()
        self.history: History = {}
        self.records: dict[int, Record] = {}
        self.births: dict[int, int] = {}

    @property
    def remembers_ranks(self) -> bool:
        """Whether ranks of several rounds matter."""
        return self.settings.rank_halflife > 0 or self.settings.racing > 0

    def learn(self, outcome: RoundOutcome) -> None:
        """Keep every finite fitness; a client without one in this round has none at all."""
        known = {
            client.client: client.update.fitness
            for client in outcome.clients
            if client.update is not None and math.isfinite(client.update.fitness)
        }
        gone = [client.client for client in outcome.clients if client.client not in known]
        for client in outcome.clients:
            self.losses.pop(client.client, None)
        for member in gone:
            self.history.pop(member, None)
        self.records = forget(self.records, gone)
        if self.settings.fitness_window > 1:
            self.history = remember_losses(self.history, known, self.settings.fitness_window)
            means = averages(self.history)
            known = {client: means[client] for client in known}
        elif self.settings.move in ("differential", "cma-es"):
            # They compare losses of members whose latest rounds differ, where cohorts are drawn.
            groups = self._clusters(outcome, known)
            known = {c: loss for group in groups for c, loss in relative(group).items()}
        if self.remembers_ranks:
            known = self._ranked(outcome, known)
        self.losses |= known
        self.latest = set(known)

    def _ranked(self, outcome: RoundOutcome, known: Mapping[int, float]) -> dict[int, float]:
        """Rank the members of every cluster, and return what their ranks come to over rounds."""
        halflife = self.settings.rank_halflife or math.inf
        for members in self._clusters(outcome, known):
            self.records = remember(self.records, ranks(members), halflife)
        if not self.settings.rank_halflife:
            return dict(known)
        return {member: self.records[member].mean for member in known}

    def _clusters(
        self, outcome: RoundOutcome, known: Mapping[int, float]
    ) -> list[dict[int, float]]:
        """Return the losses of a round by cluster."""
        clusters: dict[int | None, dict[int, float]] = {}
        for client in outcome.clients:
            if client.client in known:
                label = client.assignment.cluster if client.assignment else None
                clusters.setdefault(label, {})[client.client] = known[client.client]
        return [*clusters.values()]

    def unbeaten(self, members: Collection[int], records: Records | None = None) -> set[int]:
        """Return the members of a cluster that are not worse than the best beyond chance.

        Args:
            members: Of the cluster.
            records: Ranks of members over rounds, as evolution sees them; as they are by default.
        """
        if not self.settings.racing:
            return set()
        seen = self.records if records is None else records
        known = {member: seen[member] for member in members if member in seen}
        best = leader(known)
        return set() if best is None else {*known} - beaten(known, best, self.settings.racing)

    def expired(self, server_round: int) -> set[int]:
        """Return the members whose genes are too old for an elite's."""
        limit = self.settings.age_limit
        return ages.expired(self.births, server_round, limit) if limit else set()

    def changed(
        self, before: Mapping[int, Genome], after: Mapping[int, Genome], server_round: int
    ) -> None:
        """Forget what was known of genes that gave way to others.

        Args:
            before: Genes of every member so far.
            after: Those of the members of this round.
            server_round: This round.
        """
        fresh = [client for client, genome in after.items() if before.get(client) != genome]
        for client in fresh:
            self.history.pop(client, None)
        self.records = forget(self.records, fresh)
        if self.settings.age_limit:
            self.births = ages.since(self.births, before, after, server_round)

    def forget_rounds(self) -> None:
        """Forget all but the losses: genes were moved since."""
        self.history.clear()
        self.records.clear()

    def state(self) -> dict[str, Any]:
        """Return, as JSON values, what the settings have use for."""
        kept: dict[str, Any] = {"losses": {str(c): x for c, x in sorted(self.losses.items())}}
        if self.settings.mutation_scale == "log":
            kept["latest"] = sorted(self.latest)
        if self.settings.fitness_window > 1:
            kept["history"] = {str(c): past for c, past in sorted(self.history.items())}
        if self.remembers_ranks:
            kept["records"] = {str(c): r.as_json() for c, r in sorted(self.records.items())}
        if self.settings.age_limit:
            kept["births"] = {str(c): start for c, start in sorted(self.births.items())}
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self.losses = {int(c): float(loss) for c, loss in state["losses"].items()}
        self.latest = {int(c) for c in state.get("latest", ())}
        self.history = {
            int(c): [float(loss) for loss in past] for c, past in state.get("history", {}).items()
        }
        records = state.get("records", {})
        self.records = {int(c): Record.from_json(values) for c, values in records.items()}
        self.births = {int(c): int(start) for c, start in state.get("births", {}).items()}
