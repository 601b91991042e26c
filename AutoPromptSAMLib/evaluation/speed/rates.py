"""How near the arithmetic is to what the processor can do: operations counted, a peak measured, batches on a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.evaluation.speed.parts import Bench, timed
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE, Rate, Row

if TYPE_CHECKING:
    import torch

BATCHES = (1, 2, 4, 8, 16)
ROUNDS = 10  # matrix products that the peak is the fastest of
SIDES = {"cpu": 2048, "cuda": 8192}  # of the square matrices
NO_GPU = "not measured: no GPU here"
COUNTED_BOXES = 16


def count_gflop(run: Callable[[], Any]) -> float:
    """10⁹ operations in the matrix products, convolutions and attention that PyTorch does in ``run``."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def peak_gflops(device: str, dtype: torch.dtype, side: int | None = None) -> float:
    """Operations a second, 10⁹, of the fastest of some products of square matrices: what the processor can do."""
    import torch

    side = side or SIDES["cuda" if device.startswith("cuda") else "cpu"]
    matrices = torch.randn(2, side, side, device=device).to(dtype)
    run = partial(torch.mm, matrices[0], matrices[1])
    run()
    return 2 * side**3 / min(timed(run, device)[0] for _ in range(ROUNDS)) / 1e9


def encoder_of(backbone: Any) -> Callable[[torch.Tensor], Any]:
    """The encoder that PyTorch would run, for prepared images (B, 3, size, size)."""
    network = backbone.network
    encoder: Callable[[torch.Tensor], Any] = getattr(network, "image_encoder", None) or network.forward_image
    return encoder


def encoder_gflop(bench: Bench) -> float:
    """10⁹ operations of the published encoder for one slice; of this library's where there is no reference."""
    if bench.reference is not None:
        return count_gflop(partial(bench.reference.encode, bench.inputs.image))
    import torch

    backbone: Any = next(iter(bench.own.values())).backbone()
    size = backbone.card.input_size
    return count_gflop(partial(encoder_of(backbone), torch.zeros(1, 3, size, size, device=bench.device)))


def rates(bench: Bench, rows: Sequence[Row]) -> Iterator[Rate]:
    """Arithmetic a second of what ``rows`` timed on the CPU: encoding a slice and decoding 16 boxes."""
    import torch

    counts = {"encode one slice": encoder_gflop(bench)}
    if bench.reference is not None:
        features = bench.reference.encode(bench.inputs.image)
        boxes = bench.inputs.boxes[:COUNTED_BOXES]
        counts[f"decode {COUNTED_BOXES} boxes"] = count_gflop(partial(bench.reference.decode, features, boxes))
    peak = peak_gflops(bench.device, torch.float32)
    for row in rows:
        if row.what not in counts or row.model != bench.model:
            continue
        for key, spread in row.spreads.items():
            batch = int(row.part == "encode")
            yield Rate(bench.model, key, row.what, "float32", batch, spread.value, counts[row.what], peak)


def throughput(bench: Bench, batches: Sequence[int] = BATCHES, side: int | None = None) -> Iterator[Rate]:
    """Slices a second on a GPU, by batch: from images to features as a user gets them, and of the encoder alone.

    The encoder alone runs in float32 and under bfloat16 autocast; for the latter the part of the measured peak is
    given. The reference encodes one image after the other. Batches that do not fit into memory are left out.
    """
    import torch

    kind = torch.device(bench.device).type
    inputs, repeats = bench.inputs, bench.repeats
    backbone: Any = next(iter(bench.own.values())).backbone()
    size = backbone.card.input_size
    gflop = encoder_gflop(bench)
    peak = peak_gflops(bench.device, torch.bfloat16, side)
    for batch in batches:
        images = [inputs.slice_image(n % inputs.count) for n in range(batch)]
        runs: list[tuple[str, str, str, Callable[[], Any], AbstractContextManager[Any]]] = [
            (
                key,
                "encode, image to features",
                "as shipped",
                partial(contender.backbone().encode, images),
                nullcontext(),
            )
            for key, contender in bench.own.items()
        ]
        if bench.reference is not None:
            each = partial(_one_by_one, bench.reference.encode, images)
            runs.append((REFERENCE, "encode, image to features, one by one", "as shipped", each, nullcontext()))
        encoder, prepared = encoder_of(backbone), torch.zeros(batch, 3, size, size, device=bench.device)
        first = next(iter(bench.own))
        alone = partial(encoder, prepared)
        runs.append((first, "encoder alone, PyTorch", "float32", alone, nullcontext()))
        runs.append((first, "encoder alone, PyTorch", "bfloat16", alone, torch.autocast(kind, torch.bfloat16)))
        for key, what, precision, run, context in runs:
            bench.say(f"{bench.model}: {what}, {batch} at once, {precision}")
            try:
                with torch.no_grad(), context:
                    run()
                    seconds = median(timed(run, bench.device)[0] for _ in range(repeats))
            except torch.cuda.OutOfMemoryError:
                continue
            counted = precision == "bfloat16"
            yield Rate(
                bench.model, key, what, precision, batch, seconds,
                gflop * batch if counted else None, peak if counted else None,
            )  # fmt: skip


def _one_by_one(encode: Callable[[Any], Any], images: Sequence[Any]) -> None:
    for image in images:
        encode(image)


def rounded(value: float, digits: int = 3) -> str:
    """A positive number with so many significant digits, never in exponents."""
    if value <= 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, digits - 1 - math.floor(math.log10(value)))}f}"
