"""The flags of the command line, with the defaults of the settings that they stand for."""

from pathlib import Path
from typing import Annotated

import typer

from fedgen.config import defaults

Config = Annotated[Path | None, typer.Argument(metavar="[CONFIG.toml]", help="Settings.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunPaths = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")]

RunsPath = Annotated[
    Path, typer.Argument(metavar="[DIR]", help="A directory of runs; runs by default.")
]

WatchPath = Annotated[
    Path,
    typer.Argument(metavar="[RUN|DIR]", help="A run, or a directory of runs; runs by default."),
]
StartPath = Annotated[
    Path, typer.Argument(metavar="[DIR]", help="Where the files go.", show_default=False)
]

Rounds = Annotated[int | None, typer.Option(help=f"Training rounds; {defaults.ROUNDS} by default.")]
MoreRounds = Annotated[
    int | None, typer.Option(help="Training rounds in all; as before by default.")
]
Strategies = Annotated[
    str | None,
    typer.Option(
        help="What `strategies` lists, or MODULE:CLASS, also with settings, as fedavg@1e-3; "
        f"separated by commas; {','.join(defaults.STRATEGIES)} by default."
    ),
]
Sweep = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="NAME.KEY=A,B,...",
        help="Compare strategy NAME at each of these values; repeatable.",
    ),
]
Controls = Annotated[bool, typer.Option("--controls", help="Add all controls of genetic-cfl.")]
DataSet = Annotated[
    str | None,
    typer.Option(
        help=f"What `datasets` lists: a name, a file or a folder; {defaults.DATASET} by default."
    ),
]
DataDir = Annotated[
    str | None,
    typer.Option(
        help="Where to look for data first; FEDGEN_DATA_DIR by default, or the cache.",
        metavar="DIR",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        help=f"What `models` lists, a .toml file, or MODULE:FUNCTION; {defaults.MODEL} by default."
    ),
]
Clients = Annotated[
    int | None, typer.Option(help=f"How many clients there are; {defaults.CLIENTS} by default.")
]
Fraction = Annotated[
    float | None,
    typer.Option(help=f"Share of them in a cohort; {defaults.FRACTION} by default."),
]
Engine = Annotated[
    str | None,
    typer.Option(
        help="What trains: tensorflow, or jax, which trains many clients as one program; by "
        "default jax where it is installed and sees a GPU."
    ),
]
Seeds = Annotated[int | None, typer.Option(help=f"How many seeds; {defaults.SEEDS} by default.")]
Seed = Annotated[int | None, typer.Option(help=f"The first seed; {defaults.SEED} by default.")]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Clients trained at once, 0 for what suits the device; "
        f"{defaults.WORKERS} by default.",
        metavar="N",
    ),
]
OtherWorkers = Annotated[
    int | None,
    typer.Option(
        help="Clients trained at once, 0 for what suits the device; as before by default.",
        metavar="N",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option(help="The run directory; runs/DATASET-TIME by default.", metavar="DIR"),
]
Page = Annotated[
    Path | None,
    typer.Option(help="The page of several runs; report.html here by default.", metavar="FILE"),
]
Jobs = Annotated[
    int | None, typer.Option(help="Processes to spread the arms over; 1 by default.", metavar="N")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="Ray cluster to spread the arms over.", metavar="ADDRESS|auto"),
]
PORT = 8750
Port = Annotated[int, typer.Option(help="Its port on this machine, 0 for any.", metavar="N")]
Watch = Annotated[
    bool, typer.Option("--watch", help="Print the address of a page that follows the run.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write event files into RUN/tensorboard.")
]
MLflow = Annotated[
    str | None, typer.Option(help="Log to this MLflow server or database.", metavar="URI")
]
WandB = Annotated[
    bool, typer.Option("--wandb", help="Log to Weights & Biases, or as WANDB_MODE says.")
]
Parquet = Annotated[
    bool, typer.Option("--parquet", help="Write the rows as Parquet files into RUN.")
]
Optuna = Annotated[
    str | None,
    typer.Option(help="Write genomes as a study into this database.", metavar="URL"),
]
