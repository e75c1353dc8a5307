"""Who holds which samples of a training set."""
