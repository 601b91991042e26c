"""What hosts import at their start brings no heavy packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "peft", "transformers", "kornia", "mambapy", "safetensors")


def test_the_seam_and_the_configuration_import_no_torch() -> None:
    program = (
        "import sys, AutoPromptSAMLib.prompters, AutoPromptSAMLib.prompters.proxy_prompt, "
        "AutoPromptSAMLib.backbones.tensor_file\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
