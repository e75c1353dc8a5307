"""What to type instead of an option or a command that does not exist.

Most of what other tools have options for is a setting here: the hint names it.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from click import Group
from click.exceptions import NoSuchCommand, NoSuchOption

SYNONYMS = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "epochs": "local_epochs",
    "batch": "batch_size",
    "bs": "batch_size",
    "optim": "optimizer",
}
"""What people call settings of a comparison."""

STUDIED = {
    "lr": ("learning_rate_init", "learning_rate"),
    "rate": ("learning_rate_init", "learning_rate"),
    "learning_rate": ("learning_rate_init", "learning_rate"),
    "epochs": ("max_iter", "epochs"),
    "rounds": ("max_iter", "epochs"),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "optimizer": ("solver", "optimizer"),
    "optim": ("solver", "optimizer"),
}
"""What people call settings of an estimator, and what those are called that one of them has."""


def instead(error: NoSuchOption | NoSuchCommand) -> str:
    """Return what is wrong in a command line, and what to type."""
    command = error.ctx.command if error.ctx else None
    if isinstance(error, NoSuchCommand):
        return for_command(
            error.command_name, command.commands if isinstance(command, Group) else ()
        )
    name = (command.name or "") if error.ctx and command and error.ctx.parent else ""
    options = [option for param in command.params for option in param.opts] if command else []
    return for_option(name, error.option_name, options)


def for_option(command: str, option: str, options: Iterable[str]) -> str:
    """Return what is wrong with an option that a command does not have, and what to type.

    Args:
        command: Its name.
        option: As it was typed, without a value.
        options: Those that there are.
    """
    key = option.lstrip("-").replace("-", "_")
    setting = {"compare": _compared, "resume": _resumed, "study": _studied}.get(command, _none)(key)
    if setting:
        return f"no such option '{option}': {setting}"
    near = get_close_matches(option, list(options), n=1)
    help = " ".join(["python -m fedgen", *command.split(), "--help"])
    hint = f"did you mean {near[0]!r}?" if near else f"see `{help}`"
    return f"no such option '{option}': {hint}"


def for_command(command: str, commands: Iterable[str]) -> str:
    """Return what is wrong with a command that does not exist, and what to type."""
    names = list(commands)
    near = get_close_matches(command, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return f"no such command {command!r}: {hint}"


def _none(key: str) -> str:
    return ""


def _compared(key: str) -> str:
    from fedgen.config import tree

    sections = tree.sections()
    name = SYNONYMS.get(key, key)
    settled = {section: names for section, names in sections.items() if section != "genes"}
    homes = [section for section, names in settled.items() if name in names]
    if "kind" in sections.get(key, ()):  # of partition, aggregation, privacy
        homes, name = [key], "kind"
    if not homes:
        return ""
    first = "fedavg" if "fedavg" in homes else homes[0]
    others = ", ".join(home for home in homes if home != first)
    return f"it is a setting, --set {first}.{name}=VALUE" + (
        f"; also of {others}" if others else ""
    )


def _resumed(key: str) -> str:
    setting = _compared(key)
    return setting and f"a run keeps its settings, begin another with compare; there {setting}"


def _studied(key: str) -> str:
    from fedgen.study.cases import About, StudyData
    from fedgen.study.estimators import ESTIMATORS

    if key in About.model_fields or key in StudyData.model_fields:
        return f"it is a setting, --set {key}=VALUE"
    names = (*STUDIED.get(key, ()), key)
    found = {
        estimator: next((name for name in names if name in kind.model_fields), None)
        for estimator, kind in ESTIMATORS.items()
    }
    known = [f"--set {name}=VALUE ({estimator})" for estimator, name in found.items() if name]
    return f"it is a setting, {' or '.join(known)}" if known else ""
