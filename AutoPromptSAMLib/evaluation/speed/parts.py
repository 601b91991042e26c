"""The parts of a speed run: each measures all contenders on the same inputs, one after the other in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.evaluation.speed.contenders import Contender, Image
from AutoPromptSAMLib.evaluation.speed.inputs import Inputs
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE, Noise, NoiseMeter, Row

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Features

BOX_COUNTS = (1, 16, 64)
CHECKED_BOXES = 16
# The loop over a volume takes minutes, so it is gone through once for so many repeats.
REPEATS_A_VOLUME = 5
MOST_CHILDREN = 5
CACHE_BYTES = 4 * 2**30
# OpenMP's threads wait busily for some milliseconds after their work; the next contender must not pay for that.
PAUSE = 0.02

Child = Callable[[str], Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Bench:
    """Everything that the parts need: the ``contenders`` by key, their ``inputs``, how often, and where.

    ``say`` is told what is being done. ``child`` runs a contender in a process of its own and returns its figures.
    """

    model: str
    contenders: Mapping[str, Contender]
    inputs: Inputs
    repeats: int
    device: str
    child: Child
    say: Callable[[str], None] = lambda what: None
    _children: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    _noise: list[Noise] = field(default_factory=list)

    @property
    def reference(self) -> Contender | None:
        """None where there is nothing to compare with."""
        return self.contenders.get(REFERENCE)

    @property
    def own(self) -> dict[str, Contender]:
        """Those that are not the reference."""
        return {key: contender for key, contender in self.contenders.items() if key != REFERENCE}

    def children(self) -> tuple[Mapping[str, Sequence[Mapping[str, float]]], Noise]:
        """Figures of fresh processes, by contender; they are run once, in turn, after one that does not count."""
        if not self._noise:
            meter = NoiseMeter()
            runs = max(1, min(self.repeats, MOST_CHILDREN))
            for n in range(runs + 1):
                for key in in_turn(list(self.contenders), n):
                    self.say(f"{self.model}: a fresh process, {key}, {n} of {runs}")
                    figures = self.child(key)
                    if n:
                        self._children.setdefault(key, []).append(figures)
            self._noise.append(meter.stop())
        return self._children, self._noise[0]


def in_turn(keys: list[str], number: int) -> list[str]:
    """Forwards and backwards by turns, so that nobody is always the first after somebody else."""
    return keys if number % 2 == 0 else keys[::-1]


def timed(run: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Seconds that ``run`` takes, on CUDA by events, and what it returns. Waits a little before."""
    time.sleep(PAUSE)
    if not device.startswith("cuda"):
        started = time.perf_counter()
        answer = run()
        return time.perf_counter() - started, answer
    import torch

    with torch.cuda.device(torch.device(device)):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        before.record()
        answer = run()
        after.record()
        after.synchronize()
        return before.elapsed_time(after) / 1000, answer


def interleaved(
    runs: Mapping[str, Callable[[], Any]], repeats: int, device: str, say: Callable[[int], None] = lambda done: None
) -> dict[str, list[float]]:
    """Seconds of each of ``runs``, ``repeats`` times in turn, after a round that does not count."""
    samples: dict[str, list[float]] = {key: [] for key in runs}
    for n in range(repeats + 1):
        say(n)
        for key in in_turn(list(runs), n):
            seconds, _ = timed(runs[key], device)
            if n:
                samples[key].append(seconds)
    return samples


def encode(bench: Bench) -> Iterator[Row]:
    """An image to features."""
    image = bench.inputs.image
    runs = {key: partial(contender.encode, image) for key, contender in bench.contenders.items()}
    yield _row(bench, "encode", "encode one slice", runs, CHECKED_BOXES, embeddings=True)


def decode(bench: Bench) -> Iterator[Row]:
    """Boxes to masks of the image's size, the image being encoded."""
    image, boxes = bench.inputs.image, bench.inputs.boxes
    features = {key: contender.encode(image) for key, contender in bench.contenders.items()}
    for count in BOX_COUNTS:
        runs = {
            key: partial(contender.decode, features[key], boxes[:count]) for key, contender in bench.contenders.items()
        }
        yield _row(bench, "decode", f"decode {count} box{'es' * (count > 1)}", runs, count)


def cache(bench: Bench) -> Iterator[Row]:
    """An image that was encoded before, from memory and from disk; the reference has to encode it again."""
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

    image = bench.inputs.image
    again = {} if bench.reference is None else {REFERENCE: partial(bench.reference.encode, image)}
    with tempfile.TemporaryDirectory() as folder:
        for key, contender in bench.own.items():
            EmbeddingCache(Path(folder) / key).get_or_encode(contender.backbone(), image)
        full = {key: EmbeddingCache(Path(folder) / key) for key in bench.own}
        opened = {key: Path(folder) / key for key in bench.own}

        def remembered(key: str) -> Features:
            return full[key].get_or_encode(bench.contenders[key].backbone(), image)

        def read(key: str) -> Features:
            return EmbeddingCache(opened[key]).get_or_encode(bench.contenders[key].backbone(), image)

        for where, look in (("memory", remembered), ("disk, as in another process", read)):
            meter = NoiseMeter()
            what = f"a slice seen before, from {where}"
            runs = again | {key: partial(look, key) for key in bench.own}
            samples = interleaved(runs, bench.repeats, bench.device, _teller(bench, what))
            equal = {
                key: {"embedding": _difference(look(key).embedding, contender.encode(image).embedding)}
                for key, contender in bench.own.items()
            }
            note = "the reference encodes it again; outputs are compared with encoding anew"
            yield Row(bench.model, "cache", what, samples, note=note, equal=equal, noise=meter.stop())


def volume(bench: Bench) -> Iterator[Row]:
    """All slices encoded; then one object propagated from a box, with the slices encoded and without."""
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache, feature_key

    inputs, first = bench.inputs, next(iter(bench.own))
    encoded = EmbeddingCache(None, CACHE_BYTES)
    fingerprint = bench.contenders[first].backbone().features_fingerprint
    samples: dict[str, list[float]] = {key: [] for key in bench.contenders}
    bench.say(f"{bench.model}: warming up")
    for contender in bench.contenders.values():
        contender.encode(inputs.image)
    meter = NoiseMeter()
    for n in range(inputs.count):
        bench.say(f"{bench.model}: encoding slice {n + 1} of {inputs.count}")
        image: Image = inputs.slice_image(n)
        for key in in_turn(list(bench.contenders), n):
            seconds, features = timed(partial(bench.contenders[key].encode, image), bench.device)
            samples[key].append(seconds)
            if key == first:
                encoded.put(feature_key(fingerprint, image), features)
    all_slices = Row(
        bench.model, "volume", f"encode all {inputs.count} slices", samples, total=True, noise=meter.stop()
    )
    yield all_slices
    sums = {key: sum(values) for key, values in samples.items()}
    note = "the same loop on the networks of each; all slices encoded before"
    propagated = _propagate(bench, f"propagate the {inputs.name} from one box, slices encoded", note, lambda: encoded)
    yield propagated
    whole = {key: [sums[key] + seconds for seconds in values] for key, values in propagated.samples.items()}
    what = f"encode all {inputs.count} slices and propagate the {inputs.name}"
    yield replace(propagated, what=what, samples=whole, note="the sum of the two above")
    note = "the same loop on the networks of each; slices are encoded as the loop comes to them"
    what = f"propagate the {inputs.name} from one box, nothing encoded"
    yield _propagate(bench, what, note, lambda: EmbeddingCache(None, CACHE_BYTES))


def _propagate(bench: Bench, what: str, note: str, cache_of: Callable[[], Any]) -> Row:
    from AutoPromptSAMLib.evaluation.quality.volumes import segment_volume
    from AutoPromptSAMLib.session.local import LocalSession

    inputs = bench.inputs
    samples: dict[str, list[float]] = {key: [] for key in bench.contenders}
    masks: dict[str, Any] = {}
    meter = NoiseMeter()
    runs = max(1, bench.repeats // REPEATS_A_VOLUME)
    for n in range(runs):
        for key in in_turn(list(bench.contenders), n):
            bench.say(f"{bench.model}: {what}, {key}, {n + 1} of {runs}")
            session = LocalSession(bench.contenders[key].backbone(), cache_of())
            try:
                session.set_image(inputs.volume)
                answer = segment_volume(session, inputs.name, inputs.truth, inputs.axis)
            finally:
                session.close(cancel=True)
            samples[key].append(answer.seconds[0])
            masks[key] = answer.mask
    equal = {}
    if bench.reference is not None:
        equal = {key: {"dice": dice(masks[key], masks[REFERENCE])} for key in bench.own}
    return Row(bench.model, "volume", what, samples, note=note, equal=equal, noise=meter.stop())


def memory(bench: Bench) -> Iterator[Row]:
    """Most memory that a fresh process held while it loaded the model, encoded a slice and decoded 1 and 16 boxes."""
    children, noise = bench.children()
    what = "peak memory of a fresh process"
    note = "import, load, encode one slice, decode 1 and 16 boxes"
    samples = {key: [figures["peak_mib"] for figures in runs] for key, runs in children.items()}
    yield Row(bench.model, "memory", what, samples, unit="MiB", note=note, noise=noise)
    if all("cuda_mib" in figures for runs in children.values() for figures in runs):
        samples = {key: [figures["cuda_mib"] for figures in runs] for key, runs in children.items()}
        yield Row(bench.model, "memory", "peak memory on the GPU", samples, unit="MiB", note=note, noise=noise)


def startup(bench: Bench) -> Iterator[Row]:
    """From nothing to the first mask, in a fresh process; files are in the system's cache."""
    children, noise = bench.children()
    for what, name in (("start a process, import, load", "loaded_s"), ("the same and the first answer", "answer_s")):
        samples = {key: [figures[name] for figures in runs] for key, runs in children.items()}
        yield Row(bench.model, "startup", what, samples, noise=noise)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "encode": encode,
    "decode": decode,
    "volume": volume,
    "cache": cache,
    "memory": memory,
    "startup": startup,
}


def compare(bench: Bench, count: int, embeddings: bool = False) -> dict[str, dict[str, float]]:
    """How far each contender's output for ``count`` boxes is from the reference's; empty where there is none."""
    if bench.reference is None:
        return {}
    image, boxes = bench.inputs.image, bench.inputs.boxes[:count]
    features = bench.reference.encode_as_card(image)
    expected = bench.reference.decode(features, boxes)
    equal: dict[str, dict[str, float]] = {}
    for key, contender in bench.own.items():
        own = contender.encode_as_card(image)
        answer = contender.decode(own, boxes)
        low, high = getattr(bench.reference, "limits", (None, None))
        low_res = answer.low_res if low is None else answer.low_res.clamp(low, high)
        pairs = zip(answer.masks.cpu().numpy(), expected.masks.cpu().numpy(), strict=True)
        equal[key] = {
            "logits": _difference(low_res, expected.low_res),
            "dice": min(dice(mask, other) for mask, other in pairs),
        }
        if embeddings:
            equal[key]["embedding"] = _difference(own.embedding, features.embedding)
    return equal


def _row(
    bench: Bench,
    part: str,
    what: str,
    runs: Mapping[str, Callable[[], Any]],
    count: int,
    embeddings: bool = False,
) -> Row:
    meter = NoiseMeter()
    samples = interleaved(runs, bench.repeats, bench.device, _teller(bench, what))
    noise = meter.stop()
    bench.say(f"{bench.model}: {what}, comparing outputs")
    return Row(bench.model, part, what, samples, equal=compare(bench, count, embeddings), noise=noise)


def _teller(bench: Bench, what: str) -> Callable[[int], None]:
    return lambda n: bench.say(f"{bench.model}: {what}, {n} of {bench.repeats}")


def _difference(one: Any, other: Any) -> float:
    return float((one.detach().cpu().float() - other.detach().cpu().float()).abs().max())
