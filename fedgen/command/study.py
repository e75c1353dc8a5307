"""The command ``fedgen study``; what is heavy is imported when it runs."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedgen import runtime
from fedgen.command import flags
from fedgen.config import plugins
from fedgen.errors import InputError

if TYPE_CHECKING:
    from fedgen.config.sections import Data
    from fedgen.data.dataset import Dataset
    from fedgen.study.cases import Case, Study


def study(
    config: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What is fitted on what.")],
    dataset: Annotated[
        str | None,
        typer.Option(help="cifar10, mnist, digits, or an .npz file; the study's by default."),
    ] = None,
    data_dir: flags.DataDir = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as seeds=3; repeatable."),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            help="Fits at once, a thread each; 0, the default, for one per core.",
            metavar="N",
            show_default=False,
        ),
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="The study's directory; studies/NAME-DATASET by default.", metavar="DIR"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The file's small variant, of two minutes at most.")
    ] = False,
    best: Annotated[
        bool, typer.Option("--best", help="Fit the best case again; print scores and predictions.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="With --best: write its architecture, for compare.", metavar="MODEL.toml"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON, nothing else.")
    ] = False,
) -> None:
    """Sweep a model's settings; every fit is kept, and only what is missing runs."""
    from fedgen.config.toml import merge
    from fedgen.study import cases as studies

    if jobs < 0:
        raise InputError(f"--jobs {jobs}: expected 0 or more")
    if export is not None and not best:
        raise InputError("--export: expected together with --best, whose architecture it writes")
    if export is not None and export.suffix != ".toml":
        raise InputError(f"--export {export}: expected a name that ends in .toml")
    tree = studies.variant(studies.read(config), quick=quick)
    named = [("data", "dataset", dataset), ("data", "data_dir", data_dir)]
    given = [studies.parse_setting(text) for text in settings or []]
    tree = merge(tree, [*given, *(flag for flag in named if flag[2] is not None)])
    checked = studies.build(tree, str(config))
    from fedgen.study import ledger, samples

    images = samples.load(samples.draw(checked)).dataset
    path = out or ledger.default_path(checked, images)
    found = studies.cases(checked, images.fingerprint, str(config))
    _check_own_models(found, images, checked)
    if best:
        _show_best(path, checked, images, found, export, as_json)
    else:
        _play(path, checked, images, found, jobs or runtime.available_cores(), as_json)


def _play(
    path: Path, study: "Study", images: "Dataset", cases: "list[Case]", jobs: int, as_json: bool
) -> None:
    from fedgen import console
    from fedgen.study import ledger, ranking, samples, sweep
    from fedgen.study.report import page, terminal

    with ledger.opened(path, study, images, cases) as kept:
        if not as_json:
            print(f"study directory: {path}", flush=True)
            for text in images.notes:
                console.note(text)
        if kept.missing(cases):
            _prepare(study, jobs)
        try:
            with sweep.Watcher() if as_json else terminal.watcher() as watching:
                sweep.play(kept, cases, jobs, watching)
        except KeyboardInterrupt:
            print("every finished fit is kept; the same command goes on", file=sys.stderr)
            raise
        leaked = samples.load(samples.draw(study)).leaked
        drawn = page.write(kept, cases, leaked)
        if as_json:
            print(json.dumps(ranking.summarise(kept, cases, leaked)))
        else:
            terminal.print_results(kept, ranking.rank(kept, cases), leaked)
            print(f"page: {drawn}")


def _show_best(
    path: Path,
    study: "Study",
    images: "Dataset",
    cases: "list[Case]",
    export: Path | None,
    as_json: bool,
) -> None:
    from fedgen.files import disk
    from fedgen.study import ledger, ranking, samples
    from fedgen.study.export import to_model_file
    from fedgen.study.fits import fit
    from fedgen.study.report import terminal

    if not path.exists():
        raise InputError(f"{path}: nothing has run yet; run the study without --best first")
    kept = ledger.read(path, study, images)
    choice = ranking.choose(kept, ranking.rank(kept, cases))
    missing = len(kept.missing(cases))
    if missing and not as_json:
        print(f"{missing} of {len(cases) * len(study.seeds)} fits have not run yet", flush=True)
    _prepare(study, 1)
    case = choice.standing.case
    seed = choice.standing.fits[0].seed
    outcome = fit.fit(case, seed, samples.draw(study), study.training)
    if export is not None:
        disk.replace(export, to_model_file(kept, choice).encode())
    if as_json:
        print(json.dumps(_described(choice, outcome, export)))
        return
    terminal.print_best(choice, outcome, study.leaks)
    if export is not None:
        print(f"federate it: {compare_command(export, study.data)}")


def compare_command(export: Path, data: "Data") -> str:
    """Return what federates an exported model, on the data that it was chosen on."""
    words = ["--model", str(export), "--dataset", data.dataset]
    if data.data_dir:
        words += ["--data-dir", data.data_dir]
    return f"python -m fedgen compare {shlex.join(words)}"


def _described(choice: Any, outcome: Any, export: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    case = choice.standing.case
    return {
        "case": case.key,
        "title": case.title,
        "settings": case.settings.model_dump(mode="json"),
        "reason": choice.reason,
        "refit": asdict(outcome.fit),
        "first": [{"label": label, "predicted": guess} for label, guess in outcome.first],
        "export": None if export is None else str(export),
    }


def _check_own_models(cases: "list[Case]", images: "Dataset", study: "Study") -> None:
    from fedgen.engine import engines

    # A fit that fails is a row; what no fit can honour is refused before anything is written.
    names = {getattr(case.settings, "model", "") for case in cases}
    for name in sorted(filter(plugins.is_own, names)):
        engines.start(study.training)
        from fedgen.engine import own_model

        own_model.check(name, images.shape, images.outputs, 0)


def _prepare(study: "Study", jobs: int) -> None:
    """Start the engine for a study that needs it, with as many operations at once as fits."""
    from fedgen.engine import engines

    if study.study.estimator != "keras":
        return
    health = engines.require_gpu(study.training)
    if health is not None:
        print(health, file=sys.stderr, flush=True)
    engines.start(study.training, jobs)
