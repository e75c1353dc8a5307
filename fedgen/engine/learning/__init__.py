"""What clients learn by: loss, dropout and how weights step, with a run's values or their own."""
