"""What was measured, as a page of Markdown tables."""

import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass
from importlib import metadata

TITLES = {
    "mse": "MSE, 500,000 x 100 in memory, batch 256, 2 epochs",
    "softmax": "Softmax, 60,000 x 784 in memory, 10 classes, batch 128, 5 epochs",
    "full": "MSE, full batch, 100 x 1 in f64, 1,000 steps",
    "csv": "CSV of 1,000,000 x 28 (268 MB) to a saved logistic model, batch 256, 5 epochs, whole process",
    "threads": "Softmax as above, one thread and two",
}
WAYS = "### The ways that were tried: medians of the rounds, or the least time beforehand in brackets; the fastest counts"
PACKAGES = ["numpy", "scikit-learn", "polars", "torch", "vowpalwabbit"]


@dataclass
class Trial:
    """A contestant, its ways, and its runs."""

    entrant: object
    # The seconds of each way that was tried.
    tried: dict
    # The runs of each way that takes part, one a round.
    rounds: dict
    astray: bool = False

    @property
    def way(self):
        """The fastest."""
        return min(self.rounds, key=self.median)

    @property
    def runs(self):
        return self.rounds[self.way]

    @property
    def loss(self):
        return self.runs[0].answer["loss"]

    def median(self, way):
        """The seconds of a way."""
        return statistics.median(run.seconds for run in self.rounds[way])

    def seconds(self):
        return [run.seconds for run in self.runs]

    def ways_tried(self):
        """Each with its seconds, as text."""
        for way, seconds in self.tried.items():
            text = figure(self.median(way)) if way in self.rounds else f"({figure(seconds)})"
            yield f"{way_name(way)} {text} s"


class Page:
    def __init__(self, runs, quick):
        self.parts = [
            machine(),
            f"Median of {runs}, least and greatest in brackets. f32 unless said; rows shuffled in each epoch.",
        ]
        if quick:
            self.parts.append("**A quick run on few rows: these figures mean nothing.**")
        self.ways = []

    def add_work(self, work, trials):
        whole = trials[0].entrant.whole_process
        head = ["", "seconds", "over gradus" if work != "threads" else "over one thread", "loss"] + [
            "peak memory, MB"
        ] * whole
        rows = []
        for trial in trials:
            ratios = [mine / base for mine, base in zip(trial.seconds(), trials[0].seconds())]
            loss = "" if trial.loss is None else f"{trial.loss:.5f}" + " (!)" * trial.astray
            row = [trial.entrant.name, spread(trial.seconds()), spread(ratios), loss]
            rows.append(row + [f"{max(run.peak_mb for run in trial.runs):.0f}"] * whole)
            tried = ", ".join(trial.ways_tried())
            if len(trial.tried) > 1:
                self.ways.append(f"- {work}, {trial.entrant.name}: **{way_name(trial.way)}** of {tried}")
        self.parts += [f"### {TITLES[work]}", markdown(head, rows)]
        if work == "threads":
            hashes = {run.answer["hash"] for trial in trials for run in trial.runs}
            same = "the same bits" if len(hashes) == 1 else "NOT the same bits"
            self.parts.append(f"The parameters are {same}: {', '.join(sorted(hashes))}.")

    def add_growth(self, rows, features, logged):
        for title, sizes, rounds in (
            ("Growth with rows", *rows),
            ("Growth with features, at constant bytes", *features),
        ):
            lines = []
            for place, (count, width, _) in enumerate(sizes):
                values = [r[place].answer["nanoseconds_per_value"] for r in rounds]
                ratios = [
                    r[place].answer["nanoseconds_per_value"] / r[0].answer["nanoseconds_per_value"] for r in rounds
                ]
                peak = max(r[place].peak_mb for r in rounds)
                matrix = count * width * 4 / 2**20
                lines.append(
                    [f"{count:,} x {width:,}", spread(values), spread(ratios), f"{peak:.0f}", f"{matrix:.0f}"]
                )
            head = [
                "rows x features",
                "ns per row and feature",
                "over the first",
                "peak memory, MB",
                "the matrix, MB",
            ]
            self.parts += [f"### {title}", markdown(head, lines)]
        with_log, without = zip(*((run.answer["seconds"], run.answer["seconds_without"]) for run in logged))
        costs = [mine / base for mine, base in zip(with_log, without)]
        lines = [
            ["no log", spread(without), "1"],
            ["every step in a JSON lines file", spread(with_log), spread(costs)],
        ]
        self.parts += ["### The cost of a log", markdown(["", "seconds", "over no log"], lines)]

    def text(self):
        ways = [WAYS, "\n".join(self.ways)] if self.ways else []
        return "\n\n".join(self.parts + ways) + "\n"


def way_name(way):
    variant, threads = way
    return f"{variant + ', ' if variant else ''}{threads} thread{'s' * (threads > 1)}"


def spread(values):
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({figure(min(values))} to {figure(max(values))})"


def figure(value):
    """Three digits that count."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def markdown(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines
    )


def machine():
    """The machine, the date and the versions."""
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    rustc = subprocess.run(["rustc", "--version"], stdout=subprocess.PIPE, text=True).stdout.split()[1:2]
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    return (
        f"{cpu()}, {os.cpu_count()} cores, {platform.system()}, {time.strftime('%Y-%m-%d')}; "
        f"load {os.getloadavg()[0]:.1f} at the start. "
        f"gradus {commit or 'of unknown commit'}, rustc {' '.join(rustc)}; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def cpu():
    """The model, and its widest vectors."""
    try:
        with open("/proc/cpuinfo") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    facts = {name.strip(): value.strip() for name, value in lines.items()}
    flags = facts.get("flags", "").split()
    widest = next((f" with {name}" for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    return facts.get("model name", platform.machine()) + widest
