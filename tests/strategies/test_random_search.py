import toy

from strategies.evolution.start import random_genome
from strategies.random_search import RandomSearch
from strategies.streams import rng


def test_everybody_draws_anew_every_round_whatever_came_before() -> None:
    strategy = RandomSearch(seed=5, clients=6, fraction=1.0)
    arrays, seen = toy.start(), []
    with toy.toy_grid(6) as grid:
        for number in (1, 2, 3):
            arrays, sent = toy.play_round(strategy, grid, number, arrays)
            wanted = {c: random_genome(rng(5, "random-search", number, c)) for c in range(6)}
            assert sent == wanted
            assert {o.assignment.origin for o in strategy.outcome.clients} == {"drawn"}
            seen += sent.values()
    assert len(set(seen)) == 18
    assert all(1e-7 <= g.learning_rate <= 1e-3 and 16 <= g.batch_size <= 128 for g in seen)
