"""One fit of an estimator: with scikit-learn or with Keras."""
