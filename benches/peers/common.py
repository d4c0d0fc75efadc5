"""What every Python contestant shares: its arguments, its data, its clock and its answer."""

import argparse
import json
import time
from pathlib import Path

import numpy as np


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("work", choices=["mse", "softmax", "full", "csv"])
    parser.add_argument("--data", type=Path, required=True, help="the folder that data.py filled")
    parser.add_argument("--variant", default="", help="one of the ways to do it")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS too, whose number measure.py sets")
    options = parser.parse_args()
    options.settings = json.loads((options.data / "works.json").read_text())[options.work]
    return options


def load(options):
    """The features `[rows, features]` and the targets `[rows]` of a work that starts in memory."""
    dtype, suffix = (np.float64, "f64") if options.work == "full" else (np.float32, "f32")
    x = np.fromfile(options.data / f"{options.work}_x.{suffix}", dtype=dtype)
    x = x.reshape(options.settings["rows"], options.settings["features"])
    if options.work == "softmax":
        return x, np.fromfile(options.data / "softmax_y.u8", dtype=np.uint8).astype(np.int64)
    return x, np.fromfile(options.data / f"{options.work}_y.{suffix}", dtype=dtype)


def read_csv(options, order="c", ones=False):
    """The features and the targets of the CSV, by polars, in f32; with a column of ones if asked for."""
    import polars

    columns = options.settings["features"] + 1
    table = polars.read_csv(options.data / "big.csv", schema_overrides=[polars.Float32] * columns)
    y = table.drop_in_place("target").to_numpy(writable=True)
    if ones:
        table = table.with_columns(polars.lit(1, polars.Float32).alias("one"))
    return table.to_numpy(order=order, writable=True), y


def with_ones(x):
    """The features and a column of ones."""
    return np.concatenate((x, np.ones((len(x), 1), x.dtype)), axis=1)


def steps(settings):
    return settings["epochs"] * -(-settings["rows"] // settings["batch"])


def warm_up(settings):
    """The same work cut short: whole batches and the odd one at the end of an epoch."""
    rows = min(settings["rows"], 8 * settings["batch"] + settings["rows"] % settings["batch"])
    return settings | {"rows": rows, "epochs": min(settings["epochs"], 10)}


class Clock:
    """Wall time between two lines."""

    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start


def mse(x, y, weight, bias):
    """The mean squared error over all rows, in f64."""
    return float(np.mean((x @ weight + bias - y).astype(np.float64) ** 2))


def cross_entropy(x, y, weight, bias):
    """The mean cross-entropy over all rows; weight `[features, classes]`."""
    z = (x @ weight + bias).astype(np.float64)
    highest = z.max(axis=1)
    return float(np.mean(highest + np.log(np.exp(z - highest[:, None]).sum(axis=1)) - z[np.arange(len(y)), y]))


def log_loss(z, y):
    """The mean logistic loss of logits; y is 0 or 1."""
    z = np.asarray(z, dtype=np.float64)
    return float(np.mean(np.logaddexp(0.0, z) - y * z))


def answer(loss, seconds=None, **more):
    """Prints what the contestant found; a work that is timed from outside has no seconds of its own."""
    print(json.dumps({"loss": loss, "seconds": seconds, **more}))
