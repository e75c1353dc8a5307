"""Sweeps of one estimator's settings on one data set, kept so that nothing is fitted twice."""
