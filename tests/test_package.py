"""The archives that fedgen is passed on in: what is in them, and that it runs from them alone.

Its dependencies are those of this environment: behind what is installed from the wheel, and
without what this environment has of fedgen.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from runs import environment

CHECKOUT = Path(__file__).parents[1]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
PACKAGES = ("fedgen", "strategies")
ARCHIVE = f"fedgen-{PROJECT['version']}"


def tracked() -> list[Path]:
    """What a clone of the checkout has, new files included."""
    command = "git -c safe.directory=* ls-files --cached --others --exclude-standard"
    listed = subprocess.run(command.split(), cwd=CHECKOUT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"needs a git checkout: {listed.stderr.strip()}")
    return [path for path in map(Path, listed.stdout.splitlines()) if (CHECKOUT / path).is_file()]


def build(source: Path, out: Path, *options: str) -> None:
    """Build archives as anybody does, with the build backend of this environment."""
    words = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", out, source]
    done = subprocess.run(words, cwd=out.parent, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Built:
    """What was built of a clone."""

    files: list[Path]
    sdist: Path
    wheel: Path
    direct: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A source archive and a wheel of it, as ``python -m build`` makes them, and one without it."""
    folder = tmp_path_factory.mktemp("package")
    files = tracked()
    for path in files:
        if path.parts[:2] != ("experiments", "results"):  # megabytes of rows
            (folder / "clone" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / path, folder / "clone" / path)
    build(folder / "clone", folder / "dist")
    build(folder / "clone", folder / "direct", "--wheel")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    return Built(files, sdist, wheel, direct)


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(built: Built) -> None:
    files = contents(built.wheel)
    described = f"{ARCHIVE}.dist-info"
    assert {name for name in files if not name.startswith(described)} == {
        path.as_posix() for path in built.files if path.parts[0] in PACKAGES
    }
    for path in ("fedgen/py.typed", "strategies/py.typed", "fedgen/command/start/fedgen.toml"):
        assert files[path] == (CHECKOUT / path).read_bytes()


def test_a_wheel_of_the_source_archive_is_the_same(built: Built) -> None:
    record = f"{ARCHIVE}.dist-info/RECORD"
    one, other = contents(built.wheel), contents(built.direct)
    assert sorted(one.pop(record).splitlines()) == sorted(other.pop(record).splitlines())
    assert one == other


def test_the_source_archive_has_what_a_wheel_needs_and_no_tests(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {Path(name) for name in archive.getnames()}
    tops = {path.parts[1] for path in names if len(path.parts) > 1}
    told = {"CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "pyproject.toml"}
    told.add("MANIFEST.in")
    assert tops == {*PACKAGES, *told, "PKG-INFO", "fedgen.egg-info", "setup.cfg"}


def test_the_metadata_are_those_of_the_project(built: Built) -> None:
    raw = contents(built.wheel)[f"{ARCHIVE}.dist-info/METADATA"]
    read = Metadata.from_email(raw, validate=True)
    assert (str(read.version), read.summary) == (PROJECT["version"], PROJECT["description"])
    assert str(read.license_expression) == "Apache-2.0"
    assert f"{ARCHIVE}.dist-info/licenses/LICENSE" in contents(built.wheel)
    assert read.description_content_type == "text/markdown"
    assert read.description == (CHECKOUT / "README.md").read_text()
    assert set(read.provides_extra or ()) == {*PROJECT["optional-dependencies"]}
    told = {name for name in read.classifiers or () if "Python :: 3." in name}
    lowest, highest = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    assert told == {f"Programming Language :: Python :: 3.{n}" for n in range(lowest, highest)}


@dataclass(frozen=True)
class Installed:
    """An environment that has fedgen from its wheel."""

    bin: Path
    site: Path
    folder: Path

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """Return what a program of it says."""
        env = environment(self.folder / "cache") | {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
        env = {key: value for key, value in env.items() if not key.startswith("PYTHON")}
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=cwd or self.folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert (done.returncode, done.stderr) == (0, ""), (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv" / "bin" / "python")]
    words = [*pip, "install", "--quiet", "--no-deps", "--no-index", str(built.wheel)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    # Not read for .pth files, so that a checkout that is installed there stays out.
    others = metadata.distribution("typer").locate_file("")
    (site / "of-the-tests.pth").write_text(f"{others}\n")
    (folder / "empty").mkdir()
    return Installed(folder / "venv" / "bin", site, folder / "empty")


def test_what_is_installed_is_found_and_knows_its_version(installed: Installed) -> None:
    code = "import fedgen, strategies; print(fedgen.__file__, strategies.__file__)"
    found = [Path(path).parent for path in installed.run("python", "-c", code).split()]
    assert found == [installed.site / package for package in PACKAGES]
    (line, *_) = installed.run("fedgen", "--version").splitlines()
    assert line == f"fedgen {PROJECT['version']}"
    assert "compare" in installed.run("fedgen", "--help")
    code = "from fedgen import __version__; print(__version__)"
    assert installed.run("python", "-c", code).strip() == PROJECT["version"]


def test_it_runs_from_an_empty_directory(installed: Installed) -> None:
    assert "written: fedgen.toml" in installed.run("fedgen", "init", "start")
    words = "compare fedgen.toml --rounds 1 --seeds 1 --strategies strategy:Cooling --out run"
    start = installed.folder / "start"
    assert "again, exactly:" in installed.run("fedgen", *words.split(), cwd=start)
    page = start / "run" / "report.html"
    page.unlink()
    assert installed.run("fedgen", "report", "run", cwd=start) == "run/report.html\n"
    assert page.stat().st_size > 1_000_000


def test_the_launcher_says_that_it_needs_a_checkout(installed: Installed) -> None:
    code = (
        "from fedgen import errors, launch\n"
        "try:\n    launch.read_run_config('rounds=1')\n"
        "except errors.InputError as error:\n    print(error.line)"
    )
    said = installed.run("python", "-c", code)
    assert said.startswith("run config: expected a checkout of fedgen")
    assert str(installed.site) in said and len(said.splitlines()) == 1
