"""One strategy at several settings: as tables of a config, or swept over on a command line.

Both become names, as ``fedavg@learning_rate=0.001``: an arm is known by nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedgen.config.base import as_names
from fedgen.config.toml import parse_name
from fedgen.errors import InputError
from strategies import parse
from strategies.names import with_settings

ARMS = "arms"
"""The array of tables that lists strategies, each with settings of its own."""


def with_arms(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tree in which tables of ``arms`` are names behind those of ``run.strategies``.

    Raises:
        InputError: If one is no table, or names no strategy.
    """
    if ARMS not in tree:
        return tree
    tables, run = tree[ARMS], tree.get("run", {})
    if not isinstance(tables, list) or not isinstance(run, Mapping):
        raise InputError(f"expected [[{ARMS}]], tables of a strategy each, received {tables!r}")
    listed = as_names(run.get("strategies", ()))
    names = list(listed) if isinstance(listed, Sequence) else []
    names += [_name(number, table) for number, table in enumerate(tables, 1)]
    rest = {name: part for name, part in tree.items() if name != ARMS}
    return {**rest, "run": {**run, "strategies": names}}


def _name(number: int, table: object) -> str:
    if not isinstance(table, Mapping) or not isinstance(table.get("strategy"), str):
        raise InputError(
            f'{ARMS}: expected a table with a strategy\'s name, as in strategy = "fedavg", '
            f"received {table!r} as number {number}"
        )
    settings = {key: value for key, value in table.items() if key != "strategy"}
    if inner := [key for key, value in settings.items() if isinstance(value, Mapping)]:
        raise InputError(f"{ARMS}: {inner[0]}: expected a value, received a table")
    try:
        return with_settings(table["strategy"], parse(table["strategy"]).section, settings)
    except KeyError as error:
        raise InputError(f"{ARMS}: unknown strategy {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{ARMS}: {error}") from error


def swept(names: Sequence[str], sweeps: Iterable[str]) -> list[str]:
    """Return names of strategies with those that are swept over at every one of the values.

    Args:
        names: What is compared.
        sweeps: ``STRATEGY.SETTING=VALUE,VALUE,...``; several of one strategy multiply.

    Raises:
        InputError: If a sweep has another form, or is of nothing that is compared.
    """
    found = list(names)
    for text in sweeps:
        setting, _, listed = text.partition("=")
        values = as_names(listed)
        if not isinstance(values, tuple) or not values:
            raise InputError(
                f"--sweep {text!r}: expected STRATEGY.SETTING=VALUE,VALUE,..., as in "
                "fedavg.learning_rate=1e-4,1e-3"
            )
        section, key = parse_name(setting)
        of = {name: section in (parse(name).section, parse(name).strategy) for name in found}
        if not any(of.values()):
            raise InputError(
                f"--sweep {setting}: expected the section of a strategy that is compared, without "
                f"its variants, received {section}; compared are {','.join(names)}"
            )
        try:
            found = [
                with_settings(name, section, {key: value}) if swept_over else name
                for name, swept_over in of.items()
                for value in (values if swept_over else [None])
            ]
            for name in found:
                parse(name)
        except ValueError as error:
            raise InputError(f"--sweep {setting}: {error}") from error
    return found
