"""Runs gradus and its peers on the same works by turns, and prints a table of ratios. `run.sh` calls it."""

import argparse
import importlib.util
import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import contestants
import table
from measure import Failed, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OUTPUT = ROOT / "target" / "peers"

# Losses that are further above the best than this, relatively, are of another work. The orders of the rows differ, and
# some step after each row.
TOLERANCE = 0.03

# Ways that take at most so many times as long as a contestant's fastest take part in the rounds: which is the fastest
# depends on the state of the machine.
NEAR = 1.6


@dataclass
class Tools:
    """What cargo built."""

    gradus: str
    works: str
    streams: bool


def main():
    options = arguments()
    data = OUTPUT / ("data-quick" if options.quick else "data")
    say("building gradus")
    tools = build()
    say("making the data")
    quick = ["--quick"] if options.quick else []
    subprocess.run([sys.executable, HERE / "data.py", data, *quick], check=True)
    if not tools.streams and options.wants("csv"):
        say(f"skipped: {contestants.STREAM_NAME}: this gradus has no such option")
    page = table.Page(options.runs, options.quick)
    for work, entrants in contestants.works(tools, options.quick).items():
        if options.wants(work) or any(options.wants(entrant.key) for entrant in entrants[1:]):
            page.add_work(work, compete(work, [e for e in entrants if admitted(e, work, options)], data, options))
    if options.wants("growth"):
        page.add_growth(*grow(tools, options))
    text = page.text()
    print(text)
    (OUTPUT / "table.md").write_text(text)
    say(f"written to {(OUTPUT / 'table.md').relative_to(ROOT)}")


def arguments():
    parser = argparse.ArgumentParser(prog="bash benches/peers/run.sh", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows, one run: to see that all work")
    parser.add_argument("--runs", type=int, help="how often each runs; default: 5, with --quick 1")
    parser.add_argument(
        "--only", action="append", metavar="NAME",
        help="a work (mse, softmax, full, csv, threads, growth), or a peer (numpy, sklearn, torch, vw, read) beside "
        "gradus; may be repeated",
    )  # fmt: skip
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.quick else 5)
    options.wants = lambda name: not options.only or name in options.only
    return options


def admitted(entrant, work, options):
    """Whether it is wanted, and there."""
    if not (options.wants(work) or entrant.key == "gradus" or options.wants(entrant.key)):
        return False
    for package in entrant.needs:
        if importlib.util.find_spec(package) is None:
            say(f"skipped: {entrant.name}: the Python package {package} is not installed")
            return False
    return True


def build():
    """Builds gradus and its works in release, and says where they are."""
    command = [
        "cargo",
        "build",
        "--release",
        "--bin",
        "gradus",
        "--bench",
        "peers_works",
        "--message-format",
        "json-render-diagnostics",
    ]
    messages = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    built = {
        message["target"]["name"]: message["executable"]
        for message in map(json.loads, messages)
        if message.get("executable")
    }
    gradus = built["gradus"]
    help_text = subprocess.run([gradus, "train", "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return Tools(gradus, built["peers_works"], "--stream" in help_text)


def compete(work, entrants, data, options):
    """Each entrant's ways that may be its fastest, then rounds in which all run by turns."""
    say(f"{work}: which ways are fast")
    standing = [trial for entrant in entrants if (trial := fast_ways(entrant, data, options))]
    first = standing[0]
    for number in range(1, options.runs + 1):
        say(f"{work}: round {number} of {options.runs}")
        # Not always in the same order: what one leaves behind in the machine, memory to be cleared for example, is to fall
        # on no one alone.
        turns = [(trial, way) for trial in standing for way in trial.rounds]
        for trial, way in random.Random(number).sample(turns, len(turns)):
            try:
                trial.rounds[way].append(run(trial.entrant, data, way))
            except Failed as failure:
                if trial is first:
                    raise
                say(f"left out: {trial.entrant.name}, {table.way_name(way)}: {failure}")
                del trial.rounds[way], trial.tried[way]
        standing = [trial for trial in standing if trial.rounds]
    best = min((trial.loss for trial in standing if trial.loss is not None), default=None)
    for trial in standing:
        # On few rows those who step after each row are far ahead.
        trial.astray = not options.quick and trial.loss is not None and trial.loss > best * (1 + TOLERANCE)
        if trial.astray:
            say(f"{trial.entrant.name}: its loss {trial.loss:.6g} is too far above {best:.6g}")
    return standing


def fast_ways(entrant, data, options):
    """Those of an entrant's ways whose time is near the least: of two runs, which also warm the machine up, or of one where
    there is no choice, or where it is far behind."""
    tried = {}
    losses = {}
    for way in entrant.ways:
        if options.quick and way[1] > min(threads for _, threads in entrant.ways):
            continue
        try:
            runs = [run(entrant, data, way)]
            far_behind = runs[0].seconds > 3 * min(tried.values(), default=float("inf"))
            if len(entrant.ways) > 1 and not far_behind and not options.quick:
                runs.append(run(entrant, data, way))
        except Failed as failure:
            say(f"{entrant.name}, {table.way_name(way)}: {failure}")
            continue
        tried[way] = min(r.seconds for r in runs)
        losses[way] = runs[0].answer["loss"]
    if not tried and entrant.key == "gradus":
        raise Failed("gradus itself did not run")
    if not tried:
        say(f"skipped: {entrant.name}: it did not run")
        return None
    # A way that does not reach what the entrant's other ways reach does not count.
    least = min((loss for loss in losses.values() if loss is not None), default=None)
    fit = [way for way in tried if losses[way] is None or losses[way] <= least * (1 + TOLERANCE)]
    limit = NEAR * min(tried[way] for way in fit)
    return table.Trial(entrant, tried, {way: [] for way in fit if tried[way] <= limit})


def grow(tools, options):
    """Nanoseconds per row and feature at several sizes, with the sizes, and runs that tell what a log takes."""

    def command(*arguments):
        return contestants.Contestant("gradus", "gradus", lambda *_: [tools.works, *map(str, arguments)])

    def sized(rows, features, epochs):
        return (max(rows // 100, 1_000), features, 10) if options.quick else (rows, features, epochs)

    sizes_in_rows = [sized(*size) for size in contestants.GROWTH_IN_ROWS]
    sizes_in_features = [sized(*size) for size in contestants.GROWTH_IN_FEATURES]
    log = OUTPUT / "growth.jsonl"
    log_work = command("log", *sized(*contestants.LOGGED), log)
    rows, features, logged = [], [], []
    for number in range(1, options.runs + 1):
        say(f"growth: round {number} of {options.runs}")
        rows.append([run(command("growth", *size), None, ("", 2)) for size in sizes_in_rows])
        features.append([run(command("growth", *size), None, ("", 2)) for size in sizes_in_features])
        logged.append(run(log_work, None, ("", 2)))
    return (sizes_in_rows, rows), (sizes_in_features, features), logged


def say(what):
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as failure:
        sys.exit(f"error: {failure}")
