"""Networks that read ids of tokens, as of characters: recurrent ones, and a transformer."""

from typing import Any

import keras
from keras import layers

from fedgen.engine.zoo.seeded import Seeds, Task, dense, embedding, glorot, stacked

WIDTH, HEADS, BLOCKS = 64, 4, 2


def lstm(task: Task, seeds: Seeds) -> keras.Model:
    """The character model of federated learning (817,872 parameters for 80 characters).

    An embedding of 8, two LSTMs of 256 units, and what comes next: McMahan et al. 2017
    (arXiv:1602.05629), and LEAF's for Shakespeare (Caldas et al. 2018, arXiv:1812.01097).
    """
    return _recurrent(task, (256, 256), seeds)


def lstm_small(task: Task, seeds: Seeds) -> keras.Model:
    """One LSTM of 64 units, for CPUs (24,528 parameters for 80 characters)."""
    return _recurrent(task, (64,), seeds)


def _recurrent(task: Task, units: tuple[int, ...], seeds: Seeds) -> keras.Model:
    task.require_tokens()
    hidden = [embedding(task.vocabulary, 8, seeds)]
    for number, width in enumerate(units, 1):
        hidden.append(
            layers.LSTM(
                width,
                return_sequences=number < len(units),
                kernel_initializer=glorot(seeds),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
            )
        )
    return stacked(task, hidden, seeds)


def transformer(task: Task, seeds: Seeds) -> keras.Model:
    """A small transformer (82,512 parameters for 80 tokens and length 80).

    Two blocks that normalise before attention of 4 heads, width 64, and before an MLP of 128
    (Vaswani et al. 2017, arXiv:1706.03762; Xiong et al. 2020, arXiv:2002.04745), with learned
    positions, no mask, and the mean over the positions on top.
    """
    task.require_tokens()
    start = keras.Input(task.shape)
    (length,) = task.shape
    # Counted by operations that a .keras file can hold: 0, 1, 2 and so on.
    positions = keras.ops.cumsum(keras.ops.ones_like(start), axis=1) - 1
    tokens = embedding(task.vocabulary, WIDTH, seeds)(start)
    found = layers.Add()([tokens, embedding(length, WIDTH, seeds)(positions)])
    for _ in range(BLOCKS):
        normal = layers.LayerNormalization()(found)
        found = layers.Add()([found, _attention(normal, seeds)])
        wide = dense(2 * WIDTH, seeds, activation="relu")(layers.LayerNormalization()(found))
        found = layers.Add()([found, dense(WIDTH, seeds)(wide)])
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(found))
    return keras.Model(start, dense(task.outputs, seeds)(pooled), name="model")


def _attention(inputs: Any, seeds: Seeds) -> Any:
    layer = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
    found = layer(inputs, inputs)
    # Keras hands one seed to the initialisers of all four, which would then start as one.
    for part in (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense):
        drawn = glorot(seeds)((WIDTH, WIDTH))
        part.kernel.assign(keras.ops.reshape(drawn, part.kernel.shape))
    return found
