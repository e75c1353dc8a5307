"""What chooses hyperparameters, over any strategy that trains."""
