"""Who does which work, in which ways."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass
class Contestant:
    """One row of the table. Of its ways, each a variant and a number of threads, the fastest is taken."""

    key: str
    name: str
    # Turns (data folder, variant, threads) into a command.
    command: object
    ways: list = field(default_factory=lambda: [("", 2)])
    # The packages without which it cannot run.
    needs: tuple = ()
    # Whether seconds are of the whole process; if not, the contestant tells them.
    whole_process: bool = False
    # Reads the answer from elsewhere than standard output: a function of the data folder.
    answer: object = None


def python(script, work):
    """A command of one of the Python contestants."""

    def command(data, variant, threads):
        return [
            sys.executable,
            str(HERE / script),
            work,
            "--data",
            str(data),
            "--variant",
            variant,
            "--threads",
            str(threads),
        ]

    return command


def ways(*variants, threads=(1, 2)):
    return [(variant, count) for variant in variants for count in threads]


def works(tools, quick):
    """The contestants of each work, gradus first. `tools` has the programs that cargo built."""

    def in_memory(*words):
        return lambda data, variant, threads: [tools.works, *words, str(data), str(threads)]

    def read(work):
        return Contestant("read", "a read of the features in each epoch", in_memory("read", work), ways(""))

    def needs(work, *packages):
        return (*packages, "polars") if work == "csv" else packages

    def numpy(work, *variants, **more):
        name = more.pop("name", "NumPy")
        return Contestant("numpy", name, python("peer_numpy.py", work), ways(*variants), needs(work), **more)

    def torch(work, *variants, **more):
        name = more.pop("name", "PyTorch by hand")
        return Contestant("torch", name, python("peer_torch.py", work), ways(*variants), needs(work, "torch"), **more)

    compiled = [] if quick else ["compile"]
    return {
        "mse": [
            Contestant("gradus", "gradus", in_memory("mse"), ways("")),
            numpy("mse", "apart", "ones"),
            numpy("mse", "plain", name="NumPy, arrays as they come"),
            Contestant(
                "sklearn", "scikit-learn SGDRegressor", python("peer_sklearn.py", "mse"), [("", 1)], ("sklearn",)
            ),
            torch("mse", "apart", "ones", *compiled),
            torch("mse", "module", name="PyTorch nn.Linear, autograd"),
            read("mse"),
        ],
        "softmax": [
            Contestant("gradus", "gradus", in_memory("softmax"), ways("")),
            numpy("softmax", ""),
            numpy("softmax", "plain", name="NumPy, arrays as they come"),
            torch("softmax", "apart", *compiled),
            torch("softmax", "module", name="PyTorch nn.Linear, autograd"),
            read("softmax"),
        ],
        "full": [
            Contestant("gradus", "gradus", in_memory("full"), ways("")),
            numpy("full", "ones", name="NumPy, bias in a column of ones"),
            numpy("full", "apart", name="NumPy, bias apart"),
            torch("full", "apart", "ones", *compiled),
            torch("full", "module", name="PyTorch nn.Linear, autograd"),
        ],
        "csv": [
            gradus_csv(tools, "gradus", []),
            *([gradus_csv(tools, STREAM_NAME, STREAM)] if tools.streams else []),
            numpy("csv", "apart", "ones", name="polars + NumPy", whole_process=True),
            Contestant(
                "sklearn", "polars + scikit-learn L-BFGS", python("peer_sklearn.py", "csv"),
                ways("c,1e-4", "c,1e-3", "fortran,1e-4", "fortran,1e-3"), needs("csv", "sklearn"), whole_process=True,
            ),
            Contestant(
                "vw", "Vowpal Wabbit", python("peer_vw.py", "csv"), [("adaptive", 2), ("sgd", 2)],
                ("vowpalwabbit",), whole_process=True,
            ),
            torch("csv", "apart", "ones", name="polars + PyTorch by hand", whole_process=True),
            torch("csv", "module", name="polars + PyTorch nn.Linear, autograd", whole_process=True),
        ],
        "threads": [
            Contestant("gradus", "gradus, 1 thread", in_memory("softmax"), [("", 1)]),
            Contestant("gradus", "gradus, 2 threads", in_memory("softmax"), [("", 2)]),
        ],
    }  # fmt: skip


STREAM_NAME = "gradus --stream --memory 64MB"
STREAM = ["--stream", "--memory", "64MB"]


def gradus_csv(tools, name, more):
    """The command, with its log on; everything that is not given is as it comes."""

    def command(data, variant, threads):
        settings = json.loads((data / "works.json").read_text())["csv"]
        return [
            tools.gradus, "train", str(data / "big.csv"), "--dtype", "f32", "--lr", str(settings["lr"]),
            "--batch-size", str(settings["batch"]), "--epochs", str(settings["epochs"]),
            "--model", str(data / "gradus.safetensors"), "--log", str(data / "gradus.jsonl"),
            "--threads", str(threads), "--quiet", *more,
        ]  # fmt: skip

    return Contestant(
        "gradus", name, command, [("", 2)], whole_process=True, answer=lambda data: data / "gradus.jsonl"
    )


# Rows, features and epochs whose times per row and feature are compared.
GROWTH_IN_ROWS = [(10_000, 32, 1_000), (100_000, 32, 100), (1_000_000, 32, 10), (5_000_000, 32, 2)]
GROWTH_IN_FEATURES = [(2_000_000, 32, 5), (640_000, 100, 5), (125_000, 512, 5), (31_250, 2_048, 5)]
# For a run with and without a log.
LOGGED = (500_000, 100, 20)
