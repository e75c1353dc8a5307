"""Initial weights drawn with NumPy: as Keras describes them, and nothing is left over."""

import threading

import keras
import numpy as np
import pytest
from keras import initializers

from fedgen.engine.initial import drawn_by_numpy

SHAPE = (300, 200)

DISTRIBUTIONS = {
    # mean, standard deviation, furthest
    "glorot_uniform": (0.0, np.sqrt(2 / 500), np.sqrt(6 / 500)),
    "he_normal": (0.0, np.sqrt(2 / 300), 2 * np.sqrt(2 / 300) / 0.87962566103423978),
    "lecun_uniform": (0.0, np.sqrt(1 / 300), np.sqrt(3 / 300)),
    "random_normal": (0.0, 0.05, np.inf),
    "random_uniform": (0.0, 0.1 / np.sqrt(12), 0.05),
    "truncated_normal": (0.0, 0.05 * 0.87962566103423978, 0.1),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_initialisers_draw_what_keras_says(name: str) -> None:
    mean, deviation, furthest = DISTRIBUTIONS[name]
    with drawn_by_numpy():
        drawn = np.asarray(initializers.get(name)(SHAPE))
    assert drawn.dtype == np.float32
    assert drawn.mean() == pytest.approx(mean, abs=5 * deviation / np.sqrt(drawn.size))
    assert drawn.std() == pytest.approx(deviation, rel=0.02)
    assert np.abs(drawn).max() <= furthest * 1.0001
    if np.isfinite(furthest):
        assert np.abs(drawn).max() > 0.99 * furthest


def test_equal_seeds_draw_equal_weights_and_others_do_not() -> None:
    with drawn_by_numpy():
        one, same, other = (initializers.HeNormal(seed=seed)(SHAPE) for seed in (1, 1, 2))
        generator = keras.random.SeedGenerator(7)
        first, second = (initializers.RandomNormal(seed=generator)(SHAPE) for _ in range(2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert not np.array_equal(first, second)


def test_keras_draws_as_ever_afterwards_and_beside() -> None:
    before = np.asarray(initializers.GlorotUniform(seed=3)(SHAPE))
    inside, ready, done = [], threading.Event(), threading.Event()

    def build() -> None:
        with drawn_by_numpy():
            ready.set()
            done.wait(10)
            inside.append(np.asarray(initializers.GlorotUniform(seed=3)(SHAPE)))

    threads = [threading.Thread(target=build) for _ in range(2)]
    threads[0].start()
    ready.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    assert not inside  # the second waits for the first: what is replaced is the process' own
    done.set()
    for thread in threads:
        thread.join(10)
    with pytest.raises(ZeroDivisionError), drawn_by_numpy():
        raise ZeroDivisionError
    assert np.array_equal(inside[0], inside[1]) and not np.array_equal(inside[0], before)
    assert np.array_equal(initializers.GlorotUniform(seed=3)(SHAPE), before)
