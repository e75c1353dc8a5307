"""Residual networks for small images, with group normalisation.

Averages of batch normalisation's statistics over clients whose labels differ are those of nobody,
so the field's ResNets normalise groups of channels of one sample (Hsieh et al. 2020,
arXiv:1910.00189; Wu & He 2018, arXiv:1803.08494). There are two groups, as in Reddi et al. 2021
(arXiv:2003.00295), where Wu & He have 32 for images of ImageNet.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from fedgen.engine.zoo.seeded import Seeds, Task, dense

GROUPS, EPSILON = 2, 1e-5


def resnet18_gn(task: Task, seeds: Seeds) -> keras.Model:
    """ResNet-18 for images of 32 x 32 (11,173,962 parameters on CIFAR-10).

    He et al. 2016 (arXiv:1512.03385) with what is usual for small images: a stem of 3 x 3 with
    stride 1 and no pooling after it.
    """
    return _resnet(task, (64, 128, 256, 512), 2, seeds)


def resnet_small_gn(task: Task, seeds: Seeds) -> keras.Model:
    """ResNet-8, for CPUs (78,042 parameters on CIFAR-10): three stages of one block."""
    return _resnet(task, (16, 32, 64), 1, seeds)


def _resnet(task: Task, widths: Sequence[int], blocks: int, seeds: Seeds) -> keras.Model:
    """Return a network of a stage per width, each of so many basic blocks."""
    task.require_images()
    start = keras.Input(task.shape)
    found = _activated(_normalised(_conv(widths[0], 3, 1, seeds)(start)))
    for stage, filters in enumerate(widths):
        for block in range(blocks):
            found = _block(found, filters, 2 if stage and not block else 1, seeds)
    pooled = layers.GlobalAveragePooling2D()(found)
    return keras.Model(start, dense(task.outputs, seeds)(pooled), name="model")


def _block(inputs: Any, filters: int, stride: int, seeds: Seeds) -> Any:
    first = _activated(_normalised(_conv(filters, 3, stride, seeds)(inputs)))
    second = _normalised(_conv(filters, 3, 1, seeds)(first))
    if stride > 1 or inputs.shape[-1] != filters:
        inputs = _normalised(_conv(filters, 1, stride, seeds)(inputs))
    return _activated(layers.Add()([second, inputs]))


def _conv(filters: int, size: int, stride: int, seeds: Seeds) -> Any:
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
    )


def _normalised(inputs: Any) -> Any:
    return layers.GroupNormalization(GROUPS, epsilon=EPSILON)(inputs)


def _activated(inputs: Any) -> Any:
    return layers.Activation("relu")(inputs)
