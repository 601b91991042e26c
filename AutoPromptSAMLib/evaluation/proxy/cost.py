"""What prompting costs: seconds and memory by the number of supports, the target being encoded.

Neither depends on what images show or on what the network has learned, so an untrained one prompts a made-up image.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone

COUNTS = (1, 2, 4, 8, 16, 32)
REPEATS = 7
WAYS = {"chunked": True, "all at once": False}
SIDE = 512  # pixels of the image
MIB = 2**20


def measure(backbone: Backbone, counts: Sequence[int] = COUNTS, repeats: int = REPEATS) -> list[dict[str, Any]]:
    """A row for each number of supports and way to read from them.

    ``supports``, ``way`` ("chunked" goes through supports one by one); ``seconds`` from features to the mask of one
    object (median, with ``low`` and ``high``, the quartiles), of which ``prompt`` for the prompts alone; ``remember``:
    seconds to encode all supports' masks, once a set; ``kept``: MiB that are kept of them; ``peak``: MiB that
    prompting needs beyond them, None where the system does not tell.
    """
    import torch

    from AutoPromptSAMLib.prompters.base import Support
    from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
    from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
    from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    row, col = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    support = Support(backbone.encode([image]), image, {"object": row**2 + col**2 < (SIDE // 4) ** 2})
    torch.manual_seed(0)
    prompter = ProxyPrompter(ProxyPromptNetwork(ProxyPromptConfig.small()).eval(), backbone, copying=True)
    features = support.features

    def wait() -> None:
        if backbone.device.type == "cuda":
            torch.cuda.synchronize(backbone.device)

    def timed(work: Callable[[], Any]) -> tuple[float, Any]:
        wait()
        started = time.perf_counter()
        answer = work()
        wait()
        return time.perf_counter() - started, answer

    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        prompter.encode_supports([support], ("object",))  # a round that does not count
        once = min(timed(lambda: prompter.encode_supports([support], ("object",)))[0] for _ in range(3))
        for count in counts:
            # Each a tensor of its own, as those of different images are.
            memory = SupportMemory.concatenate(
                [prompter.encode_supports([support], ("object",)) for _ in range(count)]
            )
            for way, chunked in WAYS.items():

                def prompt(memory: SupportMemory = memory, chunked: bool = chunked) -> Any:
                    return prompter.prompt(features, memory, image=image, chunked=chunked)

                def answer(prompt: Callable[[], Any] = prompt) -> Any:
                    prompted = prompt()
                    decoded = prompted.refine(backbone.decode(features, prompted.embedding))
                    return backbone.upscale(decoded.low_res[:, 0], features.frame) > 0

                answer()
                alone = statistics.median(timed(prompt)[0] for _ in range(repeats))
                samples = [timed(answer)[0] for _ in range(repeats)]
                low, middle, high = (float(value) for value in np.percentile(samples, (25, 50, 75)))
                rows.append(
                    {
                        "supports": count, "way": way, "seconds": middle, "low": low, "high": high, "prompt": alone,
                        "remember": once * count, "kept": memory.nbytes / MIB, "peak": peak(prompt, backbone.device),
                    }
                )  # fmt: skip
    return rows


def peak(work: Callable[[], Any], device: Any) -> float | None:
    """MiB by which memory grows at most while ``work`` runs; None where the system does not tell."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # or what earlier work left behind is used again and does not show
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far (proc(5))
        before = _resident("VmRSS")
        work()
        return (_resident("VmHWM") - before) / MIB
    except (OSError, KeyError, ValueError):
        return None


def _resident(name: str) -> int:
    """Bytes of an entry of this process's status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(entries[name].split()[0]) * 1024
