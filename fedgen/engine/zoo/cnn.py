"""Convolutional networks: those of the reference, and a small one."""

from typing import Any

import keras
from keras import layers

from fedgen.engine.zoo.seeded import Seeds, Task, conv, dense, stacked


def cnn(task: Task, seeds: Seeds) -> keras.Model:
    """The CNN of the reference experiment (550,570 parameters on CIFAR-10)."""
    task.require_images()
    blocks: list[Any] = []
    for filters in (32, 64, 128):
        blocks += [conv(filters, seeds), conv(filters, seeds), layers.MaxPooling2D()]
    return stacked(task, [*blocks, layers.Flatten(), dense(128, seeds, activation="relu")], seeds)


def cnn_small(task: Task, seeds: Seeds) -> keras.Model:
    """A CNN for many runs on a CPU: 39,514 parameters and 5.1 MFLOP a sample on CIFAR-10.

    A sample trained counts three forward passes, and a multiply-add two operations: 46 times less
    than the reference CNN's.
    """
    task.require_images()
    blocks: list[Any] = []
    for filters in (8, 16, 32):
        blocks += [conv(filters, seeds), layers.MaxPooling2D()]
    return stacked(task, [*blocks, layers.Flatten(), dense(64, seeds, activation="relu")], seeds)


def cnn_mnist(task: Task, seeds: Seeds) -> keras.Model:
    """The CNN of the reference's MNIST code (693,962 parameters on MNIST)."""
    task.require_images()
    hidden = [
        conv(32, seeds, padding="valid", activation=None),
        layers.MaxPooling2D(),
        layers.Flatten(),
        dense(128, seeds, activation="relu"),
    ]
    return stacked(task, hidden, seeds)
