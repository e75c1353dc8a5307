"""Settings of the evolution that contradict each other: none is passed over in silence."""

from typing import Any

import pytest

from strategies.names import parse
from strategies.tuning.settings import Evolving

OF_THE_GENETIC_MOVE: dict[str, Any] = {
    **{"racing": 1.0, "age_limit": 2, "crossover": "average", "mutation_scale": "self"},
    **{"control": "no-mutation"},
}


@pytest.mark.parametrize("move", ["halving", "differential", "cma-es"])
@pytest.mark.parametrize("name", OF_THE_GENETIC_MOVE)
def test_what_a_move_would_not_heed_is_refused(name: str, move: Any) -> None:
    value = OF_THE_GENETIC_MOVE[name]
    with pytest.raises(ValueError, match=f"^{name}: expected .* with move = '{move}', received"):
        Evolving(**{"move": move, name: value})
    assert getattr(Evolving(**{name: value}), name) == value


@pytest.mark.parametrize("control", ["shuffled-fitness", "one-cluster", "no-selection"])
def test_a_move_goes_with_the_controls_that_change_it(control: Any) -> None:
    assert Evolving(move="cma-es", control=control).control == control


def test_variants_that_a_name_combines_are_held_to_it() -> None:
    with pytest.raises(ValueError, match="^crossover: expected 'none' with move = 'halving'"):
        Evolving(**parse("genetic-cfl+halving+whole-genomes").changed)


def test_a_race_selects() -> None:
    with pytest.raises(ValueError, match="^racing: expected 0 with control = 'no-selection'"):
        Evolving(racing=1.0, control="no-selection")
