"""What a comparison ends with on the terminal: the ranked table, and sentences."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedgen.analysis.ranking import ranking, told
from fedgen.analysis.sentences import endings, rounds_played, seeds_known, standing


def results(summary: Mapping[str, Any]) -> None:
    """Print the strategies in their order, the best first, and who wins in a sentence."""
    ranked = ranking(summary)
    played = rounds_played(summary, summary["strategies"])
    unit = "round" if played == "1" else "rounds"
    metric, title = summary["metric"]["name"], summary["metric"]["title"]
    table = Table(title=f"{summary['dataset']}, {summary['model']}, {played} {unit}")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("strategy", overflow="fold")  # a long name must not hide figures
    standings = {name: standing(summary, name) for name in summary["strategies"]}
    differ = len({*standings.values()}) > 1
    if differ:
        table.add_column("rounds", overflow="fold")
    # What they are ranked by stands first.
    shown = {} if ranked.at is None else {f"{title}\nat equal\ncost": (ranked.key, 4)}
    shown |= {f"final\n{title}": (f"final_{metric}", 4), "final\nloss": ("final_loss", 4)}
    shown |= {"client-\nepochs": ("client_epochs", 0)}
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    numbers = {place.name: str(place.number) for place in ranked.places}
    for name in (*numbers, *ranked.others):
        figures = summary["strategies"][name]
        cells = {
            key: f"{_cell(figures[key]['mean'], digits)}"
            f"{seeds_known(summary, figures[key]['values'])}"
            for key, digits in shown.values()
        }
        if figures[f"final_{metric}"]["mean"] is not None and figures["final_loss"]["mean"] is None:
            cells["final_loss"] = "not finite"
        rounds = [standings[name]] if differ else []
        table.add_row(numbers.get(name, ""), escape(name), *rounds, *cells.values())
    Console().print(table)
    for sentence in [*told(ranked), *endings(summary)]:
        Console().print(sentence, highlight=False, markup=False)
    for doubt in summary.get("doubts", ()):
        Console().print(f"mind: {doubt}", highlight=False, markup=False)
    for name, values in summary["strategies"].items():
        if "privacy" in values:
            text = f"{name}: {claim(values['privacy'])}"
            Console().print(text, highlight=False, markup=False)
    if "privacy_together" in summary:
        Console().print(f"Released together: {claim(summary['privacy_together'])}", highlight=False)


def claim(spending: Mapping[str, Any]) -> str:
    """Return what an arm may claim of privacy, as a sentence."""
    epsilon = spending["epsilon"]
    bound = "no epsilon" if epsilon is None else f"epsilon {epsilon:.3g}"
    return f"{bound} at delta {spending['delta']:g}: {spending['note']}."


def _cell(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:,.{digits}f}"
