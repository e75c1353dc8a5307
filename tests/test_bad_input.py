import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import environment, imported, run

import fedgen
from fedgen.data.archives import CIFAR10
from fedgen.data.datasets import NPZ_KEYS


def arrays(**changed: Any) -> dict[str, Any]:
    good = {
        "x_train": np.zeros((20, 4, 4), np.uint8),
        "y_train": np.arange(20) % 3,
        "x_test": np.zeros((6, 4, 4), np.uint8),
        "y_test": np.arange(6) % 3,
    }
    return good | changed


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every bad file that the cases below name."""
    folder = tmp_path_factory.mktemp("inputs")
    objects = np.array([None] * 6, object)
    bundles = {
        "objects": arrays(y_test=objects),
        "nan": arrays(x_train=np.full((20, 4, 4), np.nan)),
        "labels": arrays(y_test=np.full(6, 3)),
        "negative": arrays(y_train=np.arange(20) % 3 - 1),
        "floats": arrays(y_train=np.zeros(20)),
        "lengths": arrays(y_train=np.arange(19) % 3),
        "empty": arrays(x_test=np.zeros((0, 4, 4), np.uint8), y_test=np.zeros(0, int)),
    }
    for name, bundle in bundles.items():
        np.savez(folder / f"{name}.npz", **bundle)
    np.savez(folder / "key.npz", **{k: v for k, v in arrays().items() if k != "y_train"})
    np.savez_compressed(folder / "whole.npz", **arrays())
    whole = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name, content in (("truncated", b"\x1f\x8b\x08\x00"), ("wrong", b"something else")):
        (folder / name).mkdir()
        (folder / name / CIFAR10.name).write_bytes(content)
    (folder / "own").mkdir()
    (folder / "own" / "mnist.npz").write_bytes(b"no zip")
    (folder / "none").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")
    (folder / "file").write_text("mine")
    (folder / "broken.toml").write_text("[run\nrounds = 3\n")
    (folder / "zero.toml").write_text("[run]\nrounds = 0\n")
    (folder / "key.toml").write_text("[run]\nround = 3\n")
    (folder / "noise").mkdir()
    (folder / "noise" / "config.toml").write_text("x = 3\n")
    (folder / "noise" / ".lock").touch()  # every run directory has one
    study = '[study]\nname = "s"\nestimator = "sklearn-mlp"\n[data]\ndataset = "digits"\n'
    (folder / "study.toml").write_text(study)
    (folder / "swept").mkdir()
    (folder / "swept" / "study.toml").write_text(study)
    return folder


# What is typed (@ is the folder of bad files), and what the one line must say.
CASES = [
    ("compare --dataset cifr10", "unknown data set 'cifr10'.*did you mean 'cifar10'"),
    ("compare --strategies genetic-clf", "unknown strategy.*did you mean 'genetic-cfl'"),
    ("compare --strategies genetic-cfl+no-mutatoin", "did you mean 'genetic-cfl\\+no-mutation'"),
    (
        "compare --strategies fedavg --controls",
        "--controls: expected genetic-cfl .*received fedavg",
    ),
    ("compare --set genetic-cfl.evolve_momentum=true", "evolve_momentum needs .*'sgd'.*'adam'"),
    ("compare --strategies fedavg,fedvag", "unknown strategy.*did you mean 'fedavg'"),
    ("compare --model cnn-minst", "unknown model.*did you mean 'cnn-mnist'"),
    ("compare --set run.round=3", "unknown setting 'round'.*did you mean 'rounds'"),
    ("compare --set rum.rounds=3", "unknown section 'rum'.*did you mean 'run'"),
    ("compare --set genetic-cfl.elite=3", "unknown setting 'elite'.*did you mean 'elites'"),
    ("compare --set rounds=3", "expected SECTION.KEY=VALUE"),
    ("compare --set training.optimizer=sdg", "training.optimizer.*received 'sdg'"),
    ("compare @/key.toml", "key.toml.*unknown setting 'round'.*did you mean 'rounds'"),
    ("compare --round 3", "no such option '--round': did you mean '--rounds'\\?$"),
    ("compare --strategy fedavg", "no such option '--strategy': did you mean '--strategies'\\?$"),
    ("compare --lr 0.1", "no such option '--lr': .*--set fedavg.learning_rate=VALUE; also of"),
    ("compare --epochs=3", "it is a setting, --set training.local_epochs=VALUE$"),
    ("compare --batch-size 64", "it is a setting, --set fedavg.batch_size=VALUE; also of"),
    ("compare --optimizer sgd", "it is a setting, --set training.optimizer=VALUE$"),
    ("compare --partition iid", "it is a setting, --set partition.kind=VALUE$"),
    ("compare --nothing-like-it", "see `python -m fedgen compare --help`$"),
    ("resume @/full --lr 1", "a run keeps its settings, .*--set fedavg.learning_rate=VALUE"),
    ("report @/full --lr 1", "no such option '--lr': see `python -m fedgen report --help`$"),
    ("study @/key.toml --seeds 3", "no such option '--seeds': it is a setting, --set seeds=VALUE$"),
    (
        "study @/key.toml --lr 1",
        "--set learning_rate_init=VALUE .sklearn-mlp. or --set learning_rate=VALUE .keras.$",
    ),
    (
        "study @/key.toml --epochs 1",
        "--set max_iter=VALUE .sklearn-mlp. or --set epochs=VALUE .keras.$",
    ),
    ("compere", "no such command 'compere': did you mean 'compare'\\?$"),
    ("xyz", "no such command 'xyz': expected one of .*compare, resume, .*schema$"),
    ("--verison", "no such option '--verison': did you mean '--version'\\?$"),
    ("compare --jobs 0", "--jobs 0: expected 1 or more"),
    (
        "study @/zero.toml",
        "zero.toml: expected a table .study., received .run.*fedgen compare @/zero",
    ),
    (
        "compare @/study.toml",
        "study.toml: is a study, .* run it with: .*fedgen study @/study.toml$",
    ),
    ("compare @/noise", "noise: is a directory, expected a .toml file, as @/noise/config.toml is$"),
    ("study @/swept", "swept: is a directory, expected a .toml file, as @/swept/study.toml is$"),
    ("report @/swept", "swept: is the directory of a study, .*its page is @/swept/study.html"),
    ("resume @/swept", "swept: is the directory of a study, expected that of a run"),
    ("export @/swept --tensorboard", "swept: is the directory of a study, expected that of a run"),
    ("report @/noise @/swept", "config.toml: unknown section 'x'"),
    ("report @/zero.toml", "zero.toml: not a run directory, it is a file"),
    ("resume @/zero.toml", "zero.toml: not a run directory, it is a file"),
    ("study @/study.toml --out @/noise", "noise: .*that of a study, received that of a run"),
    ("study @/study.toml --out @/full", "full: .*that of a study, received another one"),
    ("study @/study.toml --out @/file", "file: expected a directory, received a file"),
    ("compare --dataset cifar10", "cifar-10-binary.tar.gz.*could not be downloaded"),
    ("compare --dataset mnist --data-dir @/none", "mnist.npz.*could not be downloaded"),
    ("compare --dataset cifar10 --data-dir @/truncated", "truncated or altered.*c4a38c50a1bc"),
    ("compare --dataset cifar10 --data-dir @/wrong", "expected sha256 c4a38c50a1bc.*received"),
    ("compare --dataset mnist --data-dir @/own", "mnist.npz.*not a readable"),
    ("compare --dataset digits --data-dir @/nowhere", "nowhere.*not an existing directory"),
    ("compare --data-dir @/nowhere", "nowhere.*not an existing directory"),
    ("compare --dataset @/missing.npz", "missing.npz.*does not exist"),
    ("compare --dataset @/missing.npz --out run", "missing.npz.*does not exist"),
    ("compare --dataset cifar10 --data-dir @/wrong --out run", "expected sha256 c4a38c50a1bc"),
    ("compare --rounds 0 --out run", "run.rounds.*received 0"),
    ("compare --dataset @/cut.npz", "cut.npz.*not a readable"),
    ("compare --dataset @/key.npz", "key.npz.*missing y_train"),
    ("compare --dataset @/objects.npz", "objects.npz.*plain arrays"),
    ("compare --dataset @/nan.npz", "nan.npz.*x_train.*received 320 NaN among 320"),
    ("compare --dataset @/labels.npz", "labels.npz.*y_test.*0 to 2.*received 3 in 6 of 6"),
    ("compare --dataset @/negative.npz", "negative.npz.*y_test.*-1 to 1.*received 2 in"),
    (
        "compare --set data.targets=classes --dataset @/floats.npz",
        "floats.npz.*y_train.*integers.*received float64",
    ),
    ("compare --dataset @/lengths.npz", "lengths.npz.*expected 20 labels.*received 19"),
    ("compare --dataset @/empty.npz", "empty.npz.*at least one sample"),
    ("compare --rounds 0", "run.rounds.*received 0"),
    ("compare --rounds three", "(?i)--rounds.*three"),
    ("compare --clients 0", "partition.clients.*received 0"),
    ("compare --seeds 0", "run.seeds.*received 0"),
    ("compare --seed -1", "run.seed.*received -1"),
    ("compare --workers -1", "run.workers.*received -1"),
    ("compare --fraction 0", "cohort.fraction.*received 0"),
    ("compare --fraction 1.5", "cohort.fraction.*received 1.5"),
    ("compare --clients 3 --fraction 0.1", "cohort would be empty"),
    ("compare --set fedavg.learning_rate=0", "fedavg.learning_rate.*received 0"),
    ("compare --set fedavg.learning_rate=-1e-3", "fedavg.learning_rate.*received -0.001"),
    ("compare --set fedavg.batch_size=0", "fedavg.batch_size.*received 0"),
    ("compare --mlflow ftp://x", "--mlflow ftp://x: expected an MLflow server"),
    ("resume @/nowhere --mlflow ftp://x", "nowhere.*not a run directory"),
    (
        "export @/nowhere",
        "expected at least one of --parquet, --optuna URL, --mlflow URI, --wandb and",
    ),
    ("export @/nowhere --tensorboard", "nowhere.*not a run directory"),
    ("export @/full --optuna sqlite:///x.db --mlflow sqlite:///x.db", "full.*not a run directory"),
    ("compare --dataset digits --out @/full", "--out .*full.*not an empty directory"),
    ("compare --dataset digits --out @/file", "--out .*file.*not an empty directory"),
    ("compare --dataset digits --out @/file/run", "--out .*file/run.*cannot be written"),
    ("compare --set partition.alpha=0", "partition.alpha.*greater than 0, received 0"),
    ("compare --set partition.alpha=-0.5", "partition.alpha.*greater than 0, received -0.5"),
    ("compare --set partition.kind=dirichelt", "partition.kind.*'dirichlet'.*received 'dirichelt'"),
    (
        "compare --dataset digits --set partition.kind=shards --set partition.labels_per_client=11",
        "labels_per_client = 11: expected at most 10, as many labels as the training set has",
    ),
    (
        "compare --dataset digits --model mlp --clients 1300 --set partition.kind=iid",
        "'iid' leaves 7 of 1,300 clients with no training sample",
    ),
    ("compare --set run.budget=client-epcohs=600", "run.budget.*did you mean 'client-epochs'"),
    ("compare --set run.budget=client-epochs", "run.budget.*UNIT=AMOUNT.*'client-epochs'"),
    ("compare --set run.budget=samples=0", "run.budget.*greater than 0.*'samples=0'"),
    ("compare --set run.budget=simulated-seconds=9", "run.budget.*needs devices.speed"),
    ("compare --set devices.speed=fast", "devices.speed.*received 'fast'"),
    ("compare --set devices.deadline=3", "devices: deadline.*speed 'none'.*received 3"),
    ("compare @/broken.toml", "broken.toml.*not valid TOML"),
    ("compare @/nowhere.toml", "nowhere.toml.*cannot be read"),
    ("compare @/zero.toml --rounds 3", "zero.toml.*run.rounds.*received 0"),
    ("resume @/nowhere", "nowhere.*not a run directory"),
    ("resume @/full", "full.*not a run directory"),
    ("resume @/noise", "config.toml.*unknown section 'x'"),
    ("resume", "(?i)missing argument.*RUN"),
    ("report @/nowhere", "nowhere.*not a run directory"),
    ("report @/full", "full.*not a run directory"),
]


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("typed", "said"), CASES, ids=[typed for typed, _ in CASES])
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, inputs: Path, typed: str, said: str
) -> None:
    cwd, home = tmp_path / "cwd", tmp_path / "home"
    cwd.mkdir()
    home.mkdir()
    before = contents(inputs)
    result = run(cwd, home, *(word.replace("@", str(inputs)) for word in typed.split()))
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("fedgen: ")
    assert re.search(said.replace("@", re.escape(str(inputs))), line), line
    assert line.count("id you mean") <= 1
    assert result.stdout == ""
    assert not list(cwd.iterdir())
    assert contents(inputs) == before


def test_a_process_that_starts_again_says_the_same(tmp_path: Path) -> None:
    env = environment(tmp_path)
    del env["GLIBC_TUNABLES"]
    command = [sys.executable, "-m", "fedgen", "compare", "--json", "--rounds", "0"]
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(r"fedgen: .*run\.rounds.*received 0\n", result.stderr)


def test_the_data_directory_of_the_environment_must_exist(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fedgen", "compare", "--dataset", "mnist"],
        cwd=tmp_path,
        env=environment(tmp_path) | {"FEDGEN_DATA_DIR": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"fedgen: .*nowhere: not an existing directory .*\n", result.stderr)


def test_the_version_is_told_without_tensorflow_and_flower(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path, "--version", options=("-X", "importtime"))
    told = dict(line.split() for line in result.stdout.splitlines())
    packages = ("flwr", "tensorflow", "keras", "numpy", "scikit-learn")
    assert (result.returncode, told) == (
        0,
        {
            "fedgen": fedgen.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
    )
    assert not {"tensorflow", "keras", "flwr", "numpy", "pydantic"} & imported(result.stderr)


@pytest.mark.parametrize("command", [(), ("compare",), ("resume",), ("report",), ("export",)])
def test_help_answers_without_tensorflow_and_flower(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = run(tmp_path, tmp_path, *command, "--help", options=("-X", "importtime"))
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: {' '.join(('python -m fedgen', *command))} ")
    packages = imported(result.stderr)
    assert {"fedgen", "typer"} <= packages
    assert not {"tensorflow", "keras", "flwr", "sklearn", "numpy", "pydantic"} & packages


def test_bad_settings_are_refused_without_tensorflow(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path, "compare", "--rounds", "0", options=("-X", "importtime"))
    assert result.returncode == 2
    packages = imported(result.stderr)
    assert {"fedgen", "pydantic"} <= packages
    assert not {"tensorflow", "keras", "flwr"} & packages


OPTIONS = {
    "compare": (
        "--rounds --strategies --controls --dataset --data-dir --model --clients --fraction "
        "--seeds --seed --workers --set --out --tensorboard --mlflow --json --quiet CONFIG.toml"
    ),
    "resume": "--rounds --workers --tensorboard --mlflow --json --quiet RUN",
    "export": "--optuna --mlflow --tensorboard RUN",
    "report": "RUN...",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(tmp_path: Path, command: str) -> None:
    text = run(tmp_path, tmp_path, command, "--help").stdout
    words = set(re.findall(r"--[a-z-]+|[A-Z][\w.]+", text))
    assert set(OPTIONS[command].split()) <= words


def test_the_bad_files_are_bad_for_one_reason_each(tmp_path: Path) -> None:
    from fedgen.data.datasets import read

    np.savez(tmp_path / "good.npz", **arrays())
    assert set(arrays()) == set(NPZ_KEYS)
    assert read(tmp_path / "good.npz", "good").outputs == 3
