"""The JSON Schema of a config, by which an editor completes and checks one as it is written.

It refuses nothing that ``build`` takes, but for numbers in quotes in tables of ``arms``, and tells
what can be told of a setting by itself: its name, type and range. It cannot tell 10.0 from 10, nor
what is not finite from a number, nor what goes together. Nothing refers to anything else in it, as
editors read different drafts.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from fedgen.command import catalogue
from fedgen.config import budget
from fedgen.config import strategies as own
from fedgen.config.arms import ARMS
from fedgen.config.metrics import KNOWN
from fedgen.config.plugins import OWN
from fedgen.config.sections import AUGMENTATIONS, CENTRALISED, DATASETS
from fedgen.config.sections.genes import Range
from fedgen.config.sections.model import LAYERS, MODELS
from fedgen.config.tree import Config
from fedgen.runs.run import PROVENANCE
from strategies import REGISTRY
from strategies.core.genes import KINDS, Kind

FILE = "fedgen.schema.json"
"""What it is called beside a config, which names it in its first line."""

Schema = dict[str, Any]

STRATEGIES = (*REGISTRY, CENTRALISED)

_OURS = rf"(?:{'|'.join(STRATEGIES)})(?:[+@/](?:[^,\[\]]|\[[^\[\]]*\])+)?"
_STRATEGY = rf"(?:{_OURS}|{OWN.pattern}(?:@(?:[^,\[\]]|\[[^\[\]]*\])+)?)"
_AMOUNT = rf"^$|^\s*(?:{'|'.join(budget.UNITS)})\s*=\s*[-+.\w]+\s*$"


def schema() -> Schema:
    """Return the schema of a config: every section, and the forms of names."""
    said = catalogue.strategies_there_are()
    properties = {
        name: _section(kind, kind, str(inspect.getdoc(kind)))
        for name, kind in ((n, field.annotation) for n, field in Config.model_fields.items())
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    }
    properties |= {
        name: _section(own.section(kind), kind, said[name])
        for name, kind in ((name, own.settings_class(name)) for name in STRATEGIES)
    }
    for (name, key), form in _forms().items():
        given = properties[name]["properties"][key]
        told = {part: given[part] for part in ("description", "default") if part in given}
        properties[name]["properties"][key] = form | told
    ranges = properties["genes"]["properties"]
    for name, kind in KINDS.items():
        ranges[name] = _range(kind) | {"description": ranges[name]["description"]}
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "fedgen",
        "description": "Settings of a comparison of federated strategies.",
        "type": "object",
        "properties": {
            **properties,
            ARMS: _arms({name: properties[name] for name in STRATEGIES}),
            PROVENANCE: {"description": "Versions and data of the run whose config it is."},
        },
        "patternProperties": {
            f"^{OWN.pattern}$": {
                "type": "object",
                "description": "Settings of a strategy of one's own, its dataclass Settings.",
            }
        },
        "additionalProperties": False,
    }


class _Plain(GenerateJsonSchema):
    """What pydantic knows, without titles that repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _section(model: type[BaseModel], kind: type[Any], description: str) -> Schema:
    made = model.model_json_schema(schema_generator=_Plain)
    texts = meanings(kind)
    return {
        "description": description,
        "type": "object",
        "properties": {
            name: setting | {"description": texts[name]}
            for name, setting in made["properties"].items()
        },
        "required": made.get("required", []),
        "additionalProperties": False,
    }


def meanings(kind: type[Any]) -> dict[str, str]:
    """Return what the fields of a class are: the text below each, in its source.

    Args:
        kind: A class of settings; inherited fields count.
    """
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] not in ("fedgen", "strategies"):
            continue
        for body in ast.parse(textwrap.dedent(inspect.getsource(base))).body:
            lines = body.body if isinstance(body, ast.ClassDef) else []
            for field, text in zip(lines, lines[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                    found[ast.unparse(field.target)] = " ".join(
                        ast.literal_eval(text.value).split()
                    )
    return found


def _forms() -> dict[tuple[str, str], Schema]:
    """Return the schemas of settings whose text has a form that no type says."""
    names = f"{_STRATEGY}(?:[\\s,]*,\\s*{_STRATEGY})*"
    one_own = f"^{OWN.pattern}$"
    amount = {"type": "string", "pattern": _AMOUNT}
    return {
        ("data", "dataset"): _one_of(DATASETS, "."),
        ("model", "name"): _one_of((*MODELS, LAYERS), rf"{one_own}|\.toml$"),
        ("run", "strategies"): _several(
            _one_of(STRATEGIES, f"^{_STRATEGY}$"), rf"^[\s,]*(?:{names}[\s,]*)?$", differ=True
        ),
        ("run", "metric"): _one_of(("auto", *KNOWN), ""),
        ("run", "metrics"): _several({"type": "string", "pattern": one_own}, "", differ=True),
        ("run", "budget"): amount,
        ("run", "patience"): amount,
        ("training", "augmentation"): _several(_one_of(AUGMENTATIONS, one_own), ""),
    }


def _one_of(names: Sequence[str], pattern: str) -> Schema:
    return {"anyOf": [{"enum": [*names]}, {"type": "string", "pattern": pattern}]}


def _several(one: Schema, text: str, differ: bool = False) -> Schema:
    """Return the schema of a list, or of text with commas that has a form."""
    listed = {"type": "array", "items": one, "uniqueItems": differ}
    return {"anyOf": [listed, {"type": "string", "pattern": text}]}


def _range(kind: Kind) -> Schema:
    """Return the schema of a gene's range, with the bounds of its kind."""
    made = _section(Range, Range, "")
    bounds: Schema = {"type": "integer" if kind.whole else "number"}
    bounds["exclusiveMinimum" if kind.open_low else "minimum"] = kind.low
    if kind.high < math.inf:
        bounds["exclusiveMaximum" if kind.open_high else "maximum"] = kind.high
    for end in ("low", "high"):
        made["properties"][end] |= bounds
    return made


def _arms(sections: Mapping[str, Schema]) -> Schema:
    """Return the schema of a list of strategies, each with settings of its section."""
    return {
        "description": "Strategies to compare beside run.strategies, each at its own settings.",
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "strategy": _one_of(STRATEGIES, f"^{_STRATEGY}$")
                | {"description": "What `strategies` lists, or MODULE:CLASS."}
            },
            "required": ["strategy"],
            "additionalProperties": {"not": {"type": "object"}},
            "allOf": [
                {
                    "if": {"properties": {"strategy": {"pattern": rf"^{name}([+@/]|$)"}}},
                    "then": {
                        "properties": {"strategy": True, **section["properties"]},
                        "additionalProperties": False,
                    },
                }
                for name, section in sections.items()
            ],
        },
    }
