"""The Dockerfile's steps, run here one by one without Docker.

The build context is what ``git clone`` and .dockerignore leave; COPY and WORKDIR act on a folder
that stands for ``/``; RUN steps made of ``python`` and ``pip`` run as they are written, in a fresh
environment. pip resolves against empty wheels, one for every line of constraints.txt and one
that is newer, and builds and installs fedgen itself for real.

Not run: the base image, the steps that make the user and the volumes (only their text is
checked), the contents of the downloaded wheels, CUDA's among them, and anything on a GPU.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pytest

from fedgen import cli, playing, runtime
from fedgen.config.sections import Training
from fedgen.engine import engines
from fedgen.errors import InputError

CHECKOUT = Path(__file__).parents[1]
HERE = ("python", "pip")


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions and their arguments, continued lines joined."""
    kept = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    joined = re.sub(r"\\[ \t]*\n", "", "\n".join(kept))
    return [
        (word.upper(), rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
    ]


DOCKERFILE = instructions((CHECKOUT / "Dockerfile").read_text())


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in DOCKERFILE if instruction == name]


def environment() -> dict[str, str]:
    return dict(word.split("=", 1) for rest in arguments("ENV") for word in shlex.split(rest))


def commands(line: str) -> list[str]:
    """Return the programs that a shell line starts."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    words = list(lexer)
    starts = zip(["&&", *words], words, strict=False)
    return [word for before, word in starts if before in ("&&", "||", "|", ";", "&")]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the context: the last line that matches decides."""
    out = False
    for line in (CHECKOUT / ".dockerignore").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            glob = re.escape(line.removeprefix("!"))
            glob = glob.replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if re.fullmatch(f"{glob}(/.*)?", path):
                out = not line.startswith("!")
    return out


def context() -> set[str]:
    """Return what a clone of the checkout sends to the builder, new files included."""
    listed = subprocess.run(
        "git -c safe.directory=* ls-files --cached --others --exclude-standard".split(),
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip(f"needs a git checkout: {listed.stderr.strip()}")
    paths = [path for path in listed.stdout.splitlines() if (CHECKOUT / path).is_file()]
    return {path for path in paths if not ignored(path)}


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    return {
        canonical(name): version
        for name, _, version in (line.partition("==") for line in lines if "==" in line)
    }


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel with nothing in it."""
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }
        for file, content in files.items():
            wheel.writestr(f"{stem}.dist-info/{file}", content)


def lend(name: str, site: Path) -> None:
    """Make a package of this environment part of another one."""
    package = metadata.distribution(name)
    tops = {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}
    for top in tops:
        (site / top).symlink_to(Path(str(package.locate_file(top))))


@dataclass
class Image:
    """What stands for the image: its root, its environment, and what was not run."""

    root: Path
    site: Path
    env: dict[str, str]
    cwd: Path
    not_run: list[str] = field(default_factory=list)

    def at(self, path: str) -> Path:
        return self.root / path[1:] if path.startswith("/") else self.cwd / path

    def copy(self, line: str, files: Iterable[str]) -> None:
        *sources, target = shlex.split(line)
        assert not any(source.startswith("--") for source in sources), line
        for source in sources:
            name = source.rstrip("/")
            below = {path: path[len(name) + 1 :] for path in files if path.startswith(f"{name}/")}
            if name in files:  # a file: into the target if that is a folder
                below = {name: Path(name).name if target.endswith("/") else ""}
            assert below, f"COPY {line}: no {source} in the context"
            for path, relative in below.items():
                copied = self.at(target) / relative
                copied.parent.mkdir(parents=True, exist_ok=True)
                copied.write_bytes((CHECKOUT / path).read_bytes())

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.cwd, env=self.env, capture_output=True, text=True, timeout=100
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run the Dockerfile."""
    for name, least in (("pip", 22), ("setuptools", 77)):
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "0"
        if int(version.split(".")[0]) < least:
            pytest.skip(f"needs {name} {least} or newer in this environment, it has {version}")
    folder = tmp_path_factory.mktemp("image")
    python = folder / "python"
    venv.create(python, symlinks=True)
    site = next(python.glob("lib/python*/site-packages"))
    for name in ("pip", "setuptools"):
        lend(name, site)
    (python / "bin" / "pip").write_text('#!/bin/sh\nexec python -m pip "$@"\n')
    (python / "bin" / "pip").chmod(0o755)
    wheels = folder / "wheels"
    wheels.mkdir()
    for name, version in pins().items():
        write_wheel(wheels, name, version)
        write_wheel(wheels, name, f"{version}.post1")
    root = folder / "root"
    root.mkdir()
    env = {
        "PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }
    image, files = Image(root, site, env, root), context()
    for instruction, rest in DOCKERFILE:
        if instruction == "WORKDIR":
            image.cwd = image.at(rest)
            image.cwd.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            image.copy(rest, files)
        elif instruction == "RUN" and not set(commands(rest)) <= set(HERE):
            image.not_run.append(rest)
        elif instruction == "RUN":
            done = image.run("sh", "-ec", rest)
            assert done.returncode == 0, f"RUN {rest}\n{done.stdout}{done.stderr}"
    # For the command line: the empty wheels hold no Typer. Behind what was installed.
    (site / "zz-this-environment.pth").write_text(
        f"{metadata.distribution('typer').locate_file('')}\n"
    )
    return image


def test_every_step_runs_but_the_one_that_needs_root(image: Image) -> None:
    (step,) = image.not_run
    assert commands(step) == ["useradd", "install"]


def test_what_is_installed_is_what_was_tested(image: Image) -> None:
    found = {canonical(d.name): d.version for d in metadata.distributions(path=[str(image.site)])}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["gpu"], *extras["simulation"]]
    named = {canonical(re.match(r"[\w.-]+", line)[0]) for line in wanted}
    assert found.pop("fedgen") == project["version"]
    assert {"pip", "setuptools"} | named == set(found)
    assert {name: found[name] for name in named} == {name: pins()[name] for name in named}


def test_the_extra_that_brings_cuda_exists() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    (line,) = project["optional-dependencies"]["gpu"]
    extra = re.match(r"jax\[(.+?)\]", line)[1]
    assert extra in (metadata.metadata("jax").get_all("Provides-Extra") or ())
    assert f"jax-{extra}-plugin" in pins() and f"jax-{extra}-pjrt" in pins()


def test_every_module_is_installed(image: Image) -> None:
    for package in ("fedgen", "strategies"):
        ours = {path.relative_to(CHECKOUT) for path in (CHECKOUT / package).rglob("*.py")}
        assert ours == {
            path.relative_to(image.site) for path in (image.site / package).rglob("*.py")
        }


def test_the_entry_point_answers_from_what_was_installed(image: Image) -> None:
    shown = image.run(*json.loads(arguments("ENTRYPOINT")[0]), "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("Usage: python -m fedgen ")
    where = image.run(
        "python", "-c", "import fedgen, strategies; print(strategies.__file__, fedgen.__file__)"
    )
    assert [Path(path).parents[1] for path in where.stdout.split()] == [image.site] * 2


def test_dependencies_are_a_layer_of_their_own() -> None:
    steps = [(name, rest) for name, rest in DOCKERFILE if name in ("COPY", "RUN")]
    assert [name for name, _ in steps[:2]] == ["COPY", "RUN"]
    assert shlex.split(steps[0][1]) == ["pyproject.toml", "constraints.txt", "./"]
    assert "--constraint constraints.txt" in steps[1][1]
    later = [rest for name, rest in steps[2:] if name == "RUN" and "pip" in commands(rest)]
    assert all("--no-deps" in rest and "--no-build-isolation" in rest for rest in later)


def test_nothing_is_sent_that_is_not_copied() -> None:
    copied = {word.rstrip("/") for rest in arguments("COPY") for word in shlex.split(rest)[:-1]}
    assert {path.split("/")[0] for path in context()} == copied
    for path in (".git/config", ".venv/bin/python", "runs/a/rounds.csv", "tests/test_docker.py"):
        assert ignored(path)
    assert ignored("fedgen/__pycache__/cli.cpython-312.pyc")


def test_it_runs_as_nobody_special_and_writes_into_volumes() -> None:
    assert all(int(user) > 0 for user in arguments("USER")) and arguments("USER")
    (user,) = arguments("USER")
    (making,) = [rest for rest in arguments("RUN") if "useradd" in rest]
    assert f"--uid {user} " in making
    volumes = json.loads(arguments("VOLUME")[0])
    assert volumes == ["/data", "/runs"]
    assert making.split()[-2:] == volumes
    # VOLUME keeps what its folder is when it is declared.
    names = [name for name, _ in DOCKERFILE]
    assert names.index("VOLUME") > DOCKERFILE.index(("RUN", making))
    assert str(Path(arguments("WORKDIR")[-1]) / "runs") == "/runs"
    assert environment()["FEDGEN_DATA_DIR"] == "/data"
    assert environment()["XDG_CACHE_HOME"].startswith("/data/")
    assert environment()["FEDGEN_REQUIRE_GPU"] == "1"


def test_the_base_image_is_pinned_and_supported() -> None:
    (base,) = arguments("ARG")
    assert arguments("FROM") == ["${BASE}"]
    major, minor = re.fullmatch(r"BASE=python:(\d+)\.(\d+)-slim-[a-z]+", base).groups()
    assert (3, 11) <= (int(major), int(minor)) < (3, 14)


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore"])
def test_no_host_is_named(name: str) -> None:
    assert not re.search(r"://|\b\w+\.(com|org|io|net)\b", (CHECKOUT / name).read_text())


def test_a_gpu_that_is_required_and_missing_is_an_error(tmp_path: Path) -> None:
    hidden = {"CUDA_VISIBLE_DEVICES": "-1", "FEDGEN_REQUIRE_GPU": "1", "GLIBC_TUNABLES": ""}
    typed = "compare --dataset digits --model mlp --rounds 1 --clients 4 --fraction 1 --out run"
    done = subprocess.run(
        [sys.executable, "-m", "fedgen", *typed.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)} | hidden,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("fedgen: FEDGEN_REQUIRE_GPU=1: expected a GPU")
    assert "docker run --gpus all" in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the GPUs that TensorFlow is made to see; none until some are added."""
    import tensorflow as tf

    names: list[str] = []
    monkeypatch.setattr(
        tf.config,
        "list_physical_devices",
        lambda kind: [tf.config.PhysicalDevice(name, kind) for name in names],
    )
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"device_name": gpu.name}
    )
    return names


@pytest.mark.parametrize(
    ("required", "present", "line"),
    [
        ("1", ["NVIDIA H200"], "TensorFlow sees GPU (NVIDIA H200)\n"),
        ("0", ["NVIDIA H200", "NVIDIA L4"], "TensorFlow sees GPU (NVIDIA H200)\n"),
        ("0", [], "TensorFlow sees no GPU\n"),
        ("", ["NVIDIA H200"], ""),
    ],
)
def test_the_health_line_leaves_stdout_alone(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: list[str],
    required: str,
    present: list[str],
    line: str,
) -> None:
    gpus += present
    monkeypatch.setenv("FEDGEN_REQUIRE_GPU", required)
    playing.require_gpu(Training(), quiet=True)
    assert capsys.readouterr() == ("", "")
    playing.require_gpu(Training(), quiet=False)
    assert capsys.readouterr() == ("", line)


def test_resume_requires_a_gpu_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: list[str]
) -> None:
    (tmp_path / "config.toml").write_text("[run]\nrounds = 1\n")
    monkeypatch.setenv("FEDGEN_REQUIRE_GPU", "1")
    monkeypatch.setattr(runtime, "restart_with_huge_pages", lambda: None)
    with pytest.raises(InputError, match="FEDGEN_REQUIRE_GPU=1: expected a GPU"):
        cli.resume(tmp_path, rounds=3)
    assert (tmp_path / "config.toml").read_text() == "[run]\nrounds = 1\n"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_misspelt_requirement_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDGEN_REQUIRE_GPU", "true")
    with pytest.raises(InputError, match="FEDGEN_REQUIRE_GPU: expected 0 or 1, received 'true'"):
        engines.require_gpu(Training())


def test_tensorflow_is_not_imported_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDGEN_REQUIRE_GPU", raising=False)
    monkeypatch.setattr(runtime, "import_tensorflow", pytest.fail)
    assert engines.require_gpu(Training()) is None
