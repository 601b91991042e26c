"""A process that is killed in mid-propagation: what it leaves, and how a restart goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.session import PropagationResult
from AutoPromptSAMLib.session.local import LocalSession

from ..threshold_backbone import rod
from .conftest import slice_box

MakeSession = Callable[..., LocalSession]

CHILD = """
import sys, time
from pathlib import Path
from AutoPromptSAMLib.session.local import LocalSession
from Testing.threshold_backbone import ThresholdBackbone, rod
from Testing.session.conftest import slice_box

def say(index, crop):
    print("slice", index, flush=True)

{before}
volume, truth = rod(range(24), count=24)
session = LocalSession(ThresholdBackbone(), runs_folder=Path(sys.argv[1]))
session.set_image(volume)
session.add_prompt("rod", slice_box(volume, truth, 0, 10))
session.propagate("rod", on_slice=say).result()
print("finished", flush=True)
time.sleep(60)
"""
# The sixth slice is written, but has not got its name yet.
WHILE_WRITING = """
import os
replace, calls = os.replace, []
def hang(*names):
    calls.append(names)
    if len(calls) == 6:
        print("writing", flush=True)
        time.sleep(60)
    replace(*names)
os.replace = hang
"""


@pytest.mark.parametrize(
    ("before", "lines", "kept"), [("", 4, range(3, 24)), (WHILE_WRITING, 7, [5])], ids=["anywhere", "while writing"]
)
def test_a_killed_process_leaves_whole_files_and_a_restart_goes_on(
    threshold_session: MakeSession, tmp_path: Path, before: str, lines: int, kept: list[int]
) -> None:
    runs = tmp_path / "runs"
    program = textwrap.dedent(CHILD).format(before=before)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(runs)], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline().strip() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert told[0] == "slice 10"
    assert told[-1] == ("writing" if before else "slice 13")
    files = [file for file in runs.rglob("*.npz") if not file.name.startswith(".")]
    assert len(files) in kept
    for file in files:
        assert set(np.load(file)) == {"logits", "lower", "shape", "agreement"}

    volume, truth = rod(range(24), count=24)
    whole, restarted = threshold_session(volume), threshold_session(volume, runs)
    results: list[PropagationResult] = []
    for session in (whole, restarted):
        session.add_prompt("rod", slice_box(volume, truth, 0, 10))
        results.append(session.propagate("rod").result())
    uninterrupted, resumed = results
    assert resumed.decoded == uninterrupted.decoded - len(files)
    assert resumed.mask.lower == uninterrupted.mask.lower
    np.testing.assert_array_equal(resumed.mask.mask, uninterrupted.mask.mask)
    assert resumed.agreement == uninterrupted.agreement
