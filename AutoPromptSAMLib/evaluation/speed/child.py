"""A contender in a process of its own: how long until its first answer, and how much memory it takes.

Run by ``speed`` with a job as JSON; prints its figures as JSON on the last line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from AutoPromptSAMLib.evaluation.errors import BenchError

COUNTS = (1, 16)  # boxes
PATIENCE = 600.0  # seconds


def run_child(job: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a fresh process that does ``job``: model, key, device, threads, and a file with image and boxes.

    Seconds are from just before the process is started. Raises BenchError when it fails.
    """
    command = [sys.executable, "-m", "AutoPromptSAMLib.evaluation.speed.child"]
    content = json.dumps({**job, "started": time.time()})
    try:
        done = subprocess.run([*command, content], capture_output=True, text=True, timeout=PATIENCE)
        figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1]) if done.returncode == 0 else {}
    except subprocess.TimeoutExpired:
        raise BenchError(
            f"A process of {job['model']} took more than {PATIENCE:.0f} s; measure other parts."
        ) from None
    except (ValueError, IndexError):
        figures = {}
    if not figures:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchError(f"A process of {job['model']} ({job['key']}) failed with: {last}")
    return figures


def peak_mib() -> float:
    """The most memory that this process ever held, in MiB. Raises BenchError where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage counts what the parent held before it started this program.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        raise BenchError("This system does not tell how much memory a process took; measure other parts.") from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main(arguments: Sequence[str]) -> None:
    """Do the job in the first argument."""
    job = json.loads(arguments[0])
    import torch

    from AutoPromptSAMLib.evaluation.speed.references import open_contender

    torch.set_num_threads(job["threads"])
    contender = open_contender(job["model"], job["key"], job["device"])
    loaded = time.time()
    with np.load(job["inputs"]) as inputs:
        image, boxes = inputs["image"], inputs["boxes"]
    features = contender.encode(image)
    contender.decode(features, boxes[: COUNTS[0]]).masks.cpu()
    answered = time.time()
    for count in COUNTS[1:]:
        contender.decode(features, boxes[:count]).masks.cpu()
    figures = {"loaded_s": loaded - job["started"], "answer_s": answered - job["started"], "peak_mib": peak_mib()}
    if job["device"].startswith("cuda"):
        figures["cuda_mib"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
