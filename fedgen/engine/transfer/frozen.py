"""Layers whose weights stay as they are."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import keras
from keras.src.utils.naming import to_snake_case

from fedgen.errors import InputError


def freeze(model: keras.Model, again: keras.Model, patterns: Sequence[str]) -> None:
    """Keep layers from being trained, those in other layers too.

    Args:
        model: The model; a layer's ``trainable`` is set.
        again: The same model, built once more: names that somebody gave are the same in both.
        patterns: Names of layers, or shell patterns of them, as ``"block1*"``.

    Raises:
        InputError: If no layer with weights has a name, or nothing is left to train.
    """
    layers = list(named(model, again))
    for pattern in patterns:
        found = [layer for name, layer in layers if fnmatchcase(name, pattern)]
        if not found:
            names = ", ".join(name for name, _ in layers)
            raise InputError(
                f"model.freeze: no layer with weights is called {pattern!r}; there are {names}"
            )
        for layer in found:
            layer.trainable = False
    if not model.trainable_weights:
        raise InputError(
            f"model.freeze = {list(patterns)}: expected something left to train, there is nothing"
        )


def named(model: keras.Model, again: keras.Model | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the layers that have weights, and their names, in the order of the model.

    Keras numbers layers without a name over all models of a process. Here they are numbered as in
    the first one: ``dense``, ``dense_1`` and so on.

    Args:
        model: The model.
        again: The same model, built once more: a layer that is called alike in both was given its
            name. Without it, one that is called as Keras calls layers counts as one without.
    """
    seen: Counter[str] = Counter()
    layers = list(_in_order(model, set()))
    others = [None] * len(layers) if again is None else list(_in_order(again, set()))
    for layer, other in zip(layers, others, strict=True):
        name, usual = layer.name, to_snake_case(type(layer).__name__)
        given = other is not None and other.name == name
        if not given and re.fullmatch(rf"{re.escape(usual)}(_\d+)?", name):
            name = f"{usual}_{seen[usual]}" if seen[usual] else usual
            seen[usual] += 1
        if layer.weights:
            yield name, layer


def _in_order(layer: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the layers in a layer, each before those in it; Keras' own list is not in order."""
    for inside in layer._layers:
        if id(inside) not in seen:
            seen.add(id(inside))
            yield inside
            yield from _in_order(inside, seen)
