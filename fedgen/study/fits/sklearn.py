"""scikit-learn's ``MLPClassifier``, as it is."""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from fedgen.study.estimators import SklearnMlp
from fedgen.study.fits.outcome import Trained
from fedgen.study.samples import Samples
from strategies.streams import rng


def prepare(settings: SklearnMlp, samples: Samples, seed: int) -> Callable[[], Trained]:
    """Return what trains the classifier from a seed.

    Images are rows of float64, as the classifier's own example has them.
    """
    data = samples.dataset

    def rows(images: NDArray[np.generic]) -> NDArray[np.float64]:
        flat = images.reshape(len(images), -1).astype(np.float64)
        return flat if data.scale == 1 else flat * data.scale

    state = int(rng(seed, "sklearn-mlp").integers(2**31))
    images, labels = rows(data.x_train[samples.train]), data.y_train[samples.train]

    def train() -> Trained:
        classifier = MLPClassifier(**settings.arguments(), random_state=state)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            classifier.fit(images, labels)
        refusals = [
            " ".join(str(warning.message).split("\n\n")[0].split())  # advice follows
            for warning in caught
            if issubclass(warning.category, ConvergenceWarning)
        ]
        weights = [*classifier.coefs_, *classifier.intercepts_]
        return Trained(
            predict=lambda images: np.asarray(classifier.predict(rows(images))),
            finite=all(
                np.isfinite(array).all() for array in [np.array(classifier.loss_), *weights]
            ),
            parameters=sum(array.size for array in weights),
            epochs=int(classifier.n_iter_),
            converged=not refusals,
            reason=refusals[0] if refusals else None,
        )

    return train
