"""Running what a study lacks: scikit-learn in processes, Keras in threads of the engine."""

from collections.abc import Generator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing

from fedgen.config.sections import Training
from fedgen.errors import RunError
from fedgen.study.cases import Case
from fedgen.study.estimators import SklearnMlp
from fedgen.study.fits.fit import fit
from fedgen.study.fits.outcome import Outcome
from fedgen.study.ledger import Ledger
from fedgen.study.samples import Draw, draw

Task = tuple[Case, int]


class Watcher:
    """Is told what happens while a study runs; this one shows nothing."""

    def begin(self, fits: int, there: int) -> None:
        """So many fits are to be run, so many are there."""

    def finished(self, case: Case, outcome: Outcome) -> None:
        """A fit has ended."""

    def __enter__(self) -> "Watcher":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def play(ledger: Ledger, cases: Sequence[Case], jobs: int, watcher: Watcher) -> None:
    """Run the fits that are missing, and keep each as it ends.

    Args:
        ledger: Where they are kept.
        cases: The study's cases.
        jobs: How many fits run at once, each on one thread.
        watcher: What is told.

    Raises:
        RunError: If a process of scikit-learn fits dies, or a fit cannot be kept.
    """
    missing = ledger.missing(cases)
    tasks = sorted(missing, key=lambda task: -weight(task[0]))  # so that the last ones are short
    watcher.begin(len(tasks), len(cases) * len(ledger.study.seeds) - len(tasks))
    study = ledger.study
    with closing(_outcomes(tasks, draw(study), study.training, jobs)) as outcomes:
        for number, outcome in outcomes:
            ledger.add(tasks[number][0], outcome)
            watcher.finished(tasks[number][0], outcome)
    ledger.finish(cases)


def weight(case: Case) -> int:
    """Return about what an epoch of a case costs: the products of a grey image of 28 x 28."""
    model = case.settings.federated()
    sizes = model.layers.hidden_layers if model.layers else (10_000,)  # a convolution
    return sum(a * b for a, b in zip((784, *sizes), (*sizes, 10), strict=True))


def _outcomes(
    tasks: Sequence[Task], wanted: Draw, training: Training, jobs: int
) -> Generator[tuple[int, Outcome]]:
    """Yield outcomes as they come, each with its task's number."""
    from joblib import Parallel, delayed, parallel_config

    sklearn = all(isinstance(case.settings, SklearnMlp) for case, _ in tasks)
    slots = max(min(jobs, len(tasks)), 1)
    with parallel_config(backend="loky" if sklearn else "threading"):
        parallel = Parallel(slots, batch_size=1, return_as="generator_unordered")
        running = parallel(
            delayed(_numbered)(number, case, seed, wanted, training, slots)
            for number, (case, seed) in enumerate(tasks)
        )
    try:
        yield from running
    except BrokenProcessPool as error:
        raise RunError(
            "a process of a fit was killed, perhaps for want of memory; the fits that ended are "
            "kept, and the same command with fewer --jobs goes on"
        ) from error


def _numbered(
    number: int, case: Case, seed: int, wanted: Draw, training: Training, slots: int
) -> tuple[int, Outcome]:
    return number, fit(case, seed, wanted, training, slots)
