"""Runs one command, and says how long it took, how much memory, and what it answered."""

import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

# Whatever the shell has set for BLAS and threads would be a handicap that nobody asked for.
FOREIGN = ("OPENBLAS_", "OMP_", "MKL_", "POLARS_", "RAYON_", "GRADUS_")


@dataclass
class Measured:
    seconds: float
    peak_mb: float
    answer: dict


class Failed(Exception):
    """The command ended badly; says how."""


def run(contestant, data, way):
    """One run. This process must stay small: what it occupies counts as the least peak of each child."""
    variant, threads = way
    command = contestant.command(data, variant, threads)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment(threads))
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            err.seek(0)
            last = err.read().decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
            raise Failed(f"status {process.returncode}: {last[0]}")
        out.seek(0)
        lines = out.read().splitlines()
    if contestant.answer:
        lines = contestant.answer(data).read_bytes().splitlines()
    answer = json.loads(lines[-1])
    return Measured(seconds if contestant.whole_process else answer["seconds"], usage.ru_maxrss / 1024, answer)


def environment(threads):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    count = str(threads)
    # polars keeps all cores: its reading is done before the others begin.
    return kept | {"OPENBLAS_NUM_THREADS": count, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
