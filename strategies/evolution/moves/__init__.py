"""How genes move in the unit cube, where every gene lies between 0 and 1 of its range."""
