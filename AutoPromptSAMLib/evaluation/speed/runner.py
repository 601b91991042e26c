"""How fast this library is beside the packages that published its models, on this machine.

All contenders get the same slice and boxes of the sample CT, in one process, with the same number of PyTorch threads;
their runs take turns. Start-up and memory are those of fresh processes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.evaluation import environment
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.speed.child import run_child
from AutoPromptSAMLib.evaluation.speed.contenders import Contender
from AutoPromptSAMLib.evaluation.speed.inputs import Inputs, sample_inputs
from AutoPromptSAMLib.evaluation.speed.parts import PARTS as MEASURE
from AutoPromptSAMLib.evaluation.speed.parts import Bench
from AutoPromptSAMLib.evaluation.speed.rates import NO_GPU, rates, throughput
from AutoPromptSAMLib.evaluation.speed.records import PARTS, REFERENCE, Skipped, SpeedRun
from AutoPromptSAMLib.evaluation.speed.references import open_contender

Opener = Callable[[str, str, str], Contender]


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured: ``repeats`` of each thing, with ``threads`` of PyTorch (0: as many as it takes by itself)."""

    models: tuple[str, ...]
    engines: tuple[str, ...] = ("auto",)
    parts: tuple[str, ...] = PARTS
    repeats: int = 10
    device: str = "auto"
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        from AutoPromptSAMLib.backbones.engines import ENGINES
        from AutoPromptSAMLib.zoo import get_card

        for name in self.models:
            get_card(name)
        for kind, asked, known in (("part", self.parts, PARTS), ("engine", self.engines, ENGINES)):
            unknown = [name for name in asked if name not in known]
            if unknown:
                raise BenchError(f"There is no {kind} '{unknown[0]}'; choose from {', '.join(known)}.")
            if not asked:
                raise BenchError(f"No {kind} is named; choose from {', '.join(known)}.")
        if not self.models:
            raise BenchError("No model is named; see `autopromptsam models list`.")


def run(
    settings: SpeedSettings,
    folder: Path,
    command: str,
    say: Callable[[str], None] = lambda what: None,
    opener: Opener = open_contender,
    inputs: Inputs | None = None,
    child: Callable[[Mapping[str, Any]], Mapping[str, float]] = run_child,
) -> SpeedRun:
    """Measure and keep ``speed.json`` in ``folder`` up to date with every figure; after Ctrl-C what is done is there.

    What cannot be measured is noted with the reason. Raises StorageError, and ModelError for an unknown device.
    """
    import torch

    from AutoPromptSAMLib.backbones import resolve_device

    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = str(resolve_device(settings.device))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    about = {
        "command": command,
        "settings": asdict(settings),
        "environment": {
            "machine": environment.machine(),
            "versions": environment.versions(),
            "weights": environment.weights(settings.models),
            "device": device,
            "threads": torch.get_num_threads(),
            # Set by a person, they change what every package does.
            "variables": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_"))},
        },
    }
    result = SpeedRun(about)
    result.write(folder)
    try:
        say("reading the sample CT")
        inputs = sample_inputs(settings.seed) if inputs is None else inputs
        with tempfile.TemporaryDirectory() as temporary:
            given = Path(temporary) / "inputs.npz"
            np.savez(given, image=inputs.image, boxes=inputs.boxes)
            for model in settings.models:
                job = {"model": model, "device": device, "threads": torch.get_num_threads(), "inputs": str(given)}

                def fresh(key: str, job: Mapping[str, Any] = job) -> Mapping[str, float]:
                    return child({**job, "key": key})

                contenders = _open(result, model, settings.engines, device, opener, say)
                if contenders:
                    bench = Bench(model, contenders, inputs, settings.repeats, device, fresh, say)
                    _measure(result, bench, settings.parts, folder)
        result.complete = True
    except KeyboardInterrupt:
        say("stopped")
    result.write(folder)
    return result


def _open(
    result: SpeedRun,
    model: str,
    engines: tuple[str, ...],
    device: str,
    opener: Opener,
    say: Callable[[str], None],
) -> dict[str, Contender]:
    """Contenders by key, the reference first; none when this library cannot run the model here."""
    from AutoPromptSAMLib.zoo import ensure, get_card

    contenders: dict[str, Contender] = {}
    try:
        say(f"{model}: weights")
        if opener is open_contender:
            ensure(get_card(model))
        for key in (REFERENCE, *engines):
            say(f"{model}: loading {key}")
            try:
                contenders[key] = opener(model, key, device)
            except AutoPromptSAMError as error:
                result.skipped.append(Skipped(model, key if key == REFERENCE else f"engine {key}", _not_here(error)))
    except AutoPromptSAMError as error:  # the weights
        result.skipped.append(Skipped(model, "all", _not_here(error)))
    result.contenders[model] = {key: f"{found.title}: {found.how}" for key, found in contenders.items()}
    return contenders if set(contenders) - {REFERENCE} else {}


def _measure(result: SpeedRun, bench: Bench, parts: tuple[str, ...], folder: Path) -> None:
    for part in (part for part in PARTS if part in parts):
        try:
            if part == "gpu":
                _gpu(result, bench)
            else:
                for row in MEASURE[part](bench):
                    result.rows.append(row)
                    result.write(folder)
        except AutoPromptSAMError as error:
            result.skipped.append(Skipped(bench.model, part, _not_here(error)))
    if not bench.device.startswith("cuda") and {"encode", "decode"} & set(parts):
        bench.say(f"{bench.model}: counting operations")
        result.rates.extend(rates(bench, result.rows))
    result.write(folder)


def _gpu(result: SpeedRun, bench: Bench) -> None:
    if bench.device.startswith("cuda"):
        result.rates.extend(throughput(bench))
    else:
        result.skipped.append(Skipped(bench.model, "gpu", NO_GPU))


def _not_here(error: AutoPromptSAMError) -> str:
    return f"not measured here: {error}"
