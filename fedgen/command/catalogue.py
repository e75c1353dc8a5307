"""What there is to choose from, with one line each."""

import strategies
from fedgen.config.sections import CENTRALISED, DATASETS
from fedgen.config.sections.model import MODELS
from strategies.evolution.variants import CONTROLS, EXTENSIONS

_MODELS = {
    "cnn": "the reference CNN: 3 x 2 convolutions, 550,570 parameters on CIFAR-10",
    "cnn-small": "three convolutions, 39,514 parameters and 5 MFLOP a sample on CIFAR-10",
    "cnn-mnist": "the reference's CNN for MNIST: one convolution, 693,962 parameters on MNIST",
    "resnet18-gn": "ResNet-18 with group normalisation, 11,173,962 parameters on CIFAR-10",
    "resnet-small-gn": "ResNet-8 with group normalisation, 78,042 parameters on CIFAR-10",
    "lstm": "for ids of characters: two LSTMs of 256, 817,872 parameters for 80 of them",
    "lstm-small": "for ids of characters: one LSTM of 64, 24,528 parameters for 80 of them",
    "transformer": "for ids of tokens: two blocks of width 64, 82,512 parameters for 80 of them",
    "logistic": "logistic regression: no hidden layer",
    "table": "for rows of features: two hidden layers of 64 units",
    "mlp": "one hidden layer of 128 units",
}

_DATASETS = {
    "cifar10": "60,000 colour images of 32 x 32, 10 classes; 170 MB",
    "cifar100": "60,000 colour images of 32 x 32, 100 fine or 20 coarse classes; 169 MB",
    "mnist": "70,000 grey images of 28 x 28, 10 classes; 11 MB",
    "fashion-mnist": "70,000 grey images of 28 x 28, 10 classes; 31 MB",
    "svhn": "99,289 colour images of 32 x 32, 10 classes; 246 MB",
    "digits": "1,797 grey images of 8 x 8, 10 classes; comes with scikit-learn",
    "synthetic": "60 features, 10 classes, natural clients; drawn, no file: synthetic:ALPHA,BETA",
}
_KINDS = {
    "emnist": "grey images of 28 x 28 of handwriting; 562 MB for all kinds",
    "medmnist": "medical images of 28 x 28, with a validation split of their own",
}

PAIR = "TUNER/STRATEGY"
"""How the name of a tuner over a strategy looks."""


def strategies_there_are() -> dict[str, str]:
    """Return every strategy and what it is: the first line of its class."""
    found = {name: _first_line(strategies.load(name)) for name in strategies.REGISTRY}
    found |= {
        f"{strategies.GENETIC}+{name}": f"Control of {strategies.GENETIC}: {what}."
        for name, what in CONTROLS.items()
    }
    found |= {
        f"{strategies.GENETIC}+{name}": f"Extension of {strategies.GENETIC}: {extension.what}."
        for name, extension in EXTENSIONS.items()
    }
    tuners = ", ".join(strategies.TUNERS)
    return found | {
        PAIR: f"One of {tuners} choosing hyperparameters for another; see docs/genes.md.",
        CENTRALISED: "Training on all clients' data in one place: no federation.",
    }


def models_there_are() -> dict[str, str]:
    """Return every model and what it is."""
    return {name: _MODELS.get(name) or _stack(name) for name in MODELS}


def datasets_there_are() -> dict[str, str]:
    """Return every data set and what it is."""
    own = {
        "FILE or FOLDER": "your own: .npz, CSV, images, Parquet, LEAF, ...; see docs/data.md",
        "hf:NAME": "what the library `datasets` finds",
    }
    known = {name: _DATASETS.get(name) or _KINDS[name.partition(":")[0]] for name in DATASETS}
    return known | own


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _stack(name: str) -> str:
    parts = name.removeprefix("mlp-").split("-")
    text = f"hidden layers of {', '.join(part for part in parts if part.isdigit())} units"
    text += ", batch normalisation" if "bn" in parts else ""
    return text + (", dropout 0.5" if "dropout" in parts else "")
