"""What there is to choose from, with one line each."""

import strategies
from fedgen.config.model import MODELS
from fedgen.config.sections import CENTRALISED, DATASETS
from strategies.evolution.variants import CONTROLS, EXTENSIONS

_MODELS = {
    "cnn": "the reference CNN: 3 x 2 convolutions, 550,570 parameters on CIFAR-10",
    "cnn-small": "three convolutions, 39,514 parameters and 5 MFLOP a sample on CIFAR-10",
    "cnn-mnist": "the reference's CNN for MNIST: one convolution, 693,962 parameters on MNIST",
    "mlp": "one hidden layer of 128 units",
}

_DATASETS = {
    "cifar10": "60,000 colour images of 32 x 32, 10 classes; in --data-dir or downloaded, 170 MB",
    "mnist": "70,000 grey images of 28 x 28, 10 classes; in --data-dir or downloaded, 11 MB",
    "digits": "1,797 grey images of 8 x 8, 10 classes; comes with scikit-learn",
}


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
    return found | {CENTRALISED: "Training on all clients' data in one place: no federation."}


def models_there_are() -> dict[str, str]:
    """Return every model and what it is."""
    return {name: _MODELS.get(name) or _stack(name) for name in MODELS}


def datasets_there_are() -> dict[str, str]:
    """Return every data set and what it is."""
    own = {"FILE.npz": "your own: x_train, y_train, x_test, y_test; see the README"}
    return {name: _DATASETS[name] for name in DATASETS} | own


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]


def _stack(name: str) -> str:
    parts = name.removeprefix("mlp-").split("-")
    text = f"hidden layers of {', '.join(part for part in parts if part.isdigit())} units"
    text += ", batch normalisation" if "bn" in parts else ""
    return text + (", dropout 0.5" if "dropout" in parts else "")
