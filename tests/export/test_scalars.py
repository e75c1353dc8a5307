"""What of a round is plotted: costs add up, the rest is the round's own."""

from dataclasses import replace

from shards import arm, round_row

from fedgen.export.scalars import curve, rows_of


def test_costs_are_those_up_to_and_with_the_round() -> None:
    rows = [
        replace(round_row(number), client_epochs=4 + number, rejected=number) for number in (0, 1)
    ]
    first, second = curve([*rows])
    assert (first["cost/client-epochs"], second["cost/client-epochs"]) == (4, 9)
    assert (first["cost/bytes"], second["cost/bytes"]) == (2, 4)
    assert (first["cost/samples"], second["cost/samples"]) == (8, 16)
    assert (first["cost/seconds"], second["cost/seconds"]) == (1 / 3, 2 / 3)
    assert (first["replies/rejected"], second["replies/rejected"]) == (0, 1)
    assert (second["accuracy/test"], second["accuracy/validation"]) == (0.1, 0.3)
    assert (second["loss/test"], second["loss/validation"]) == (float("inf"), 0.4)


def test_where_nothing_was_trained_there_is_no_training_loss() -> None:
    untrained, trained = curve([round_row(0), replace(round_row(1), train_loss=0.5)])
    assert "loss/train" not in untrained and trained["loss/train"] == 0.5
    assert curve([]) == []


def test_the_rows_of_an_arm_are_of_its_strategy_and_seed() -> None:
    mine = round_row(0, "fedavg", 3)
    others = [round_row(0, "fedavg", 0), round_row(0, "genetic-cfl", 3)]
    assert rows_of(arm("fedavg", 3), [others[0], mine, others[1]]) == [mine]
