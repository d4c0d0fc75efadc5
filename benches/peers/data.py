"""Makes the data of all works, the same on every machine, and `works.json`, which states each work's settings."""

import argparse
import json
from pathlib import Path

import numpy as np

# Rows, features and settings of each work; `quick` has the same works with few rows.
WORKS = {
    "mse": {"rows": 500_000, "features": 100, "batch": 256, "epochs": 2, "lr": 0.01},
    "softmax": {"rows": 60_000, "features": 784, "classes": 10, "batch": 128, "epochs": 5, "lr": 0.02},
    "full": {"rows": 100, "features": 1, "batch": 100, "epochs": 1_000, "lr": 0.05},
    "csv": {"rows": 1_000_000, "features": 28, "batch": 256, "epochs": 5, "lr": 0.1},
}
QUICK_ROWS = {"mse": 20_000, "softmax": 5_000, "full": 100, "csv": 20_000}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true", help="few rows")
    options = parser.parse_args()
    works = {name: work | ({"rows": QUICK_ROWS[name]} if options.quick else {}) for name, work in WORKS.items()}
    settings = options.folder / "works.json"
    # Written last: where it is and says the same, the data are whole.
    if settings.exists() and json.loads(settings.read_text()) == works:
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    settings.unlink(missing_ok=True)
    make_mse(options.folder, works["mse"])
    make_softmax(options.folder, works["softmax"])
    make_full(options.folder, works["full"])
    make_csv(options.folder, works["csv"])
    settings.write_text(json.dumps(works, indent=1))


def make_mse(folder, work):
    """Independent features; a target that is linear in them, with noise of variance 0.25."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((work["rows"], work["features"]), dtype=np.float32)
    weight = rng.standard_normal(work["features"], dtype=np.float32)
    noise = rng.standard_normal(work["rows"], dtype=np.float32)
    x.tofile(folder / "mse_x.f32")
    (x @ weight + np.float32(1.0) + np.float32(0.5) * noise).tofile(folder / "mse_y.f32")


def make_softmax(folder, work):
    """Gaussian classes around centres so near each other that a linear model errs now and then."""
    rng = np.random.default_rng(2)
    centres = np.float32(0.12) * rng.standard_normal((work["classes"], work["features"]), dtype=np.float32)
    y = rng.integers(0, work["classes"], work["rows"])
    x = rng.standard_normal((work["rows"], work["features"]), dtype=np.float32)
    x += centres[y]
    x.tofile(folder / "softmax_x.f32")
    y.astype(np.uint8).tofile(folder / "softmax_y.u8")


def make_full(folder, work):
    """A line, in f64."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-2.0, 2.0, (work["rows"], work["features"]))
    x.tofile(folder / "full_x.f64")
    (2.5 * x[:, 0] + 1.0 + 0.5 * rng.standard_normal(work["rows"])).tofile(folder / "full_y.f64")


def make_csv(folder, work):
    """Numbers such as -0.123456 and a target of 0 and 1; for Vowpal Wabbit the same with a target of -1 and 1."""
    rng = np.random.default_rng(4)
    weight = rng.standard_normal(work["features"])
    names = [f"x{i + 1}" for i in range(work["features"])]
    with open(folder / "big.csv", "wb") as file, open(folder / "big_vw.csv", "wb") as vw_file:
        file.write((",".join(names) + ",target\n").encode())
        vw_file.write((",".join(names) + ",_label\n").encode())
        for start in range(0, work["rows"], 50_000):
            rows = min(50_000, work["rows"] - start)
            x = np.clip(rng.standard_normal((rows, work["features"])), -9.0, 9.0)
            positive = rng.random(rows) < 1.0 / (1.0 + np.exp(-x @ weight))
            cells = digits(x)
            file.write(lines(cells, positive, b"0\n", b"1\n"))
            vw_file.write(lines(cells, positive, b"-1\n", b"1\n"))


def digits(x):
    """Each number as the ten bytes of `-0.123456,`, with a zero byte where there is no minus sign."""
    micros = np.rint(x * 1e6).astype(np.int64)
    text = np.empty((*x.shape, 10), dtype=np.uint8)
    text[..., 0] = np.where(micros < 0, ord("-"), 0)
    text[..., 2] = ord(".")
    text[..., 9] = ord(",")
    rest = np.abs(micros)
    for place in (8, 7, 6, 5, 4, 3, 1):
        rest, digit = np.divmod(rest, 10)
        text[..., place] = digit + ord("0")
    return text.reshape(len(x), -1)


def lines(cells, positive, no, yes):
    """The cells with the target behind them, without the zero bytes."""
    targets = np.zeros((len(cells), 3), dtype=np.uint8)
    for ending, rows in ((no, ~positive), (yes, positive)):
        targets[rows, : len(ending)] = np.frombuffer(ending, dtype=np.uint8)
    text = np.concatenate((cells, targets), axis=1).ravel()
    return text[text != 0].tobytes()


if __name__ == "__main__":
    main()
