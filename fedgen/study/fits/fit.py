"""One fit: an estimator trained from one seed, timed, scored, and never an end to the study."""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedgen.config.sections import Training
from fedgen.study.cases import Case
from fedgen.study.estimators import SklearnMlp
from fedgen.study.fits.outcome import FIRST, Epoch, Fit, Outcome, Trained
from fedgen.study.samples import Draw, Samples, load

TENSORFLOW = Training(engine="tensorflow")


def fit(
    case: Case, seed: int, wanted: Draw, training: Training = TENSORFLOW, slots: int = 1
) -> Outcome:
    """Fit a case with a seed, on one thread.

    Args:
        case: What is fitted.
        seed: Of initial weights, batch order and dropout.
        wanted: On which images.
        training: The engine that trains Keras models; one that is here.
        slots: How many fits this process runs at once.

    Returns:
        The fit; an exception inside it is a fit with status "failed".
    """
    from threadpoolctl import threadpool_limits

    samples = load(wanted)
    try:
        with threadpool_limits(1), np.errstate(all="ignore"):  # a row tells what overflowed
            return _fit(case, seed, samples, training, slots)
    except Exception as error:  # whatever it is, the other cases go on
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        # scikit-learn raises where a weight overflows.
        status = "diverged" if "non-finite" in text else "failed"
        return Outcome(Fit(case.key, seed, status, text))


def _fit(case: Case, seed: int, samples: Samples, training: Training, slots: int) -> Outcome:
    settings = case.settings
    # An engine's framework is imported with the one, scikit-learn with the other.
    if isinstance(settings, SklearnMlp):
        from fedgen.study.fits import sklearn as sklearn_fit

        train = sklearn_fit.prepare(settings, samples, seed)
    else:
        from fedgen.study.fits import keras as keras_fit

        train = keras_fit.prepare(settings, samples, seed, training, slots)
    began = time.perf_counter()
    trained = train()
    train_seconds = time.perf_counter() - began
    measured = Fit(
        case=case.key,
        seed=seed,
        status="ok" if trained.finite else "diverged",
        reason=trained.reason if trained.finite else "a loss or weight is not finite",
        train_seconds=train_seconds,
        epochs=trained.epochs,
        converged=trained.converged and trained.finite,
        parameters=trained.parameters,
    )
    validated_on = "held-out" if len(samples.validation) else "test"
    epochs = tuple(
        Epoch(case.key, seed, number, *values, validated_on)
        for number, values in enumerate(trained.curve, 1)
    )
    if not trained.finite:
        return Outcome(measured, epochs)
    scored, first = _score(measured, trained, samples)
    return Outcome(scored, epochs, first)


def _score(
    measured: Fit, trained: Trained, samples: Samples
) -> tuple[Fit, tuple[tuple[int, int], ...]]:
    from sklearn import metrics

    data = samples.dataset
    began = time.perf_counter()
    predicted = trained.predict(data.x_test)
    predict_seconds = time.perf_counter() - began
    one = len(data.y_test) > 1 and bool(np.all(predicted == predicted[0]))
    scores = metrics.precision_recall_fscore_support(
        data.y_test, predicted, average="macro", zero_division=0
    )

    def share(rows: NDArray[np.int32]) -> float:
        return float(np.mean(trained.predict(data.x_train[rows]) == data.y_train[rows]))

    scored = replace(
        measured,
        status="diverged" if one else measured.status,
        reason=f"predicts class {data.labels[predicted[0]]} for every image"
        if one
        else measured.reason,
        accuracy=float(np.mean(predicted == data.y_test)),
        precision=float(scores[0]),
        recall=float(scores[1]),
        zero_one_loss=float(np.mean(predicted != data.y_test)),
        validation_accuracy=share(samples.validation) if len(samples.validation) else None,
        train_accuracy=share(samples.train),
        predict_seconds=predict_seconds,
    )
    pairs = zip(data.y_test[:FIRST], predicted[:FIRST], strict=True)
    return scored, tuple((data.labels[label], data.labels[guess]) for label, guess in pairs)
