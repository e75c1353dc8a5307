"""Nothing in the code base can run what a file says: found by walking its syntax tree."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not {part for part in path.relative_to(ROOT).parts if part.startswith(".")} - {"."}
    and "build" not in path.relative_to(ROOT).parts[:1]
)

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
PARALLEL = {"Parallel", "delayed", "parallel_config"}
"""What may be had of joblib: it runs functions in processes of its own, and reads no file."""
BUILTINS = {"eval", "exec", "compile"}
CALLS = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def dotted(node: ast.expr) -> str:
    """The dotted name of an expression, or what stands at its end."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def is_true(call: ast.Call, name: str) -> bool:
    """Whether a keyword is there and not plainly false."""
    return any(
        keyword.arg == name
        and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
        for keyword in call.keywords
    )


def banned(source: str) -> list[str]:
    """What a source does that is banned, by line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if names == ["joblib"] and {alias.name for alias in node.names} <= PARALLEL:
                names = []
            if names == ["yaml"]:
                names += [f"yaml.{alias.name}" for alias in node.names]
        bad = [n for n in names if n.split(".")[0] in MODULES or n in CALLS]
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in BUILTINS | CALLS or called.split(".")[0] == "builtins":
                bad.append(called)
            if called.endswith("import_module") or called == "__import__":
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and str(first.value).split(".")[0] in MODULES:
                    bad.append(str(first.value))
            bad += [name for name in ("allow_pickle", "shell") if is_true(node, name)]
            if any(k.arg == "safe_mode" and not is_true(node, "safe_mode") for k in node.keywords):
                bad.append("safe_mode=False")
        found += [f"line {node.lineno}: {what}" for what in bad]
    return found


def test_the_sources_are_all_there() -> None:
    folders = {path.relative_to(ROOT).parts[0] for path in SOURCES}
    assert {"fedgen", "strategies", "tests", "benchmarks"} <= folders


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_uses_nothing_that_is_banned(path: Path) -> None:
    assert banned(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from pickle import loads",
        "from cloudpickle import *",
        "import joblib",
        "from joblib import Parallel, load",
        "import_module('dill')",
        "__import__('marshal')",
        "eval('1')",
        "exec(text)",
        "builtins.eval('1')",
        "compile('1', '', 'eval')",
        "os.system('ls')",
        "yaml.load(text)",
        "from yaml import load",
        "np.load(f, allow_pickle=True)",
        "np.load(f, allow_pickle=flag)",
        "subprocess.run('ls', shell=True)",
        "run(['ls'], shell=1)",
        "keras.models.load_model(p, safe_mode=False)",
    ],
)
def test_what_is_banned_is_found(source: str) -> None:
    assert banned(source)


@pytest.mark.parametrize(
    "source",
    [
        "np.load(f, allow_pickle=False)",
        "subprocess.run(['ls'], shell=False)",
        "model.compile(loss='x')",
        "re.compile('x')",
        "evaluate(x)",
        "from joblib import Parallel, delayed",
        "yaml.safe_load(text)",
    ],
)
def test_what_is_harmless_is_not(source: str) -> None:
    assert banned(source) == []
