"""``autopromptsam learn`` (one task from a few annotated images) and ``autopromptsam train`` (general weights)."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.console import check_output, console, fetch_weights, step_bar
from AutoPromptSAMLib.errors import Cancelled, PromptError, StorageError

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.datasets import Dataset, UnusablePair
    from AutoPromptSAMLib.training.pool import Source
    from AutoPromptSAMLib.training.preview import Preview
    from AutoPromptSAMLib.training.run import Learned
    from AutoPromptSAMLib.training.shots import Example

Data = Annotated[Path, typer.Option(help="A folder with a dataset.yaml, see `autopromptsam bench quality --list`.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The file to write: NAME.safetensors.")]
Model = Annotated[str, typer.Option(help="Model that will be prompted; see `autopromptsam models list`.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Seed = Annotated[int, typer.Option(help="Which images are drawn, how they are changed, and where learning starts.")]

_LEAST_FREE = 100  # MB: the file (11) and, while it is replaced, two states to go on from (32 each)
_TRAINING_DISK = 8 * 2**30  # bytes of encoded images: 2000 views of a SAM-like model


class _Stopper:
    """Tells learning how far it is shown to be, and takes Ctrl-C: the first one ends it with the best so far."""

    def __init__(self, report: Callable[[int, int, str], None]) -> None:
        self.cancelled = False
        self.report = report

    def stop(self, *_: Any) -> None:
        if self.cancelled:
            raise KeyboardInterrupt
        self.cancelled = True


@contextmanager
def _stoppable(text: str) -> Iterator[_Stopper]:
    with step_bar(text) as report:
        stopper = _Stopper(report)
        before = signal.signal(signal.SIGINT, stopper.stop)
        try:
            yield stopper
        finally:
            signal.signal(signal.SIGINT, before)


def learn(
    data: Data,
    objects: Annotated[
        list[str], typer.Option("--object", help="What to learn, by its name in the data; repeatable.")
    ],
    output: Output,
    shots: Annotated[int, typer.Option(help="Annotated images to learn from.", min=2)] = 16,
    model: Model = "lite-medsam",
    minutes: Annotated[float, typer.Option(help="At most so many minutes, after encoding.", min=0.01)] = 15.0,
    steps: Annotated[int, typer.Option(help="At most so many steps.", min=1)] = 600,
    seed: Seed = 0,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Do not start from the weights that come with the project.")
    ] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="The paper's optimiser and loss: SGD, rate 0.01, Dice alone.")
    ] = False,
    lora: Annotated[
        bool | None,
        typer.Option(
            help="Whether the model's own attention learns, too; by default on a GPU where peft is installed."
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Learn a task from a few annotated images; use the result with `segment --support ... --task FILE`.

    Ctrl-C ends it with the best network so far. A run that was killed goes on from where it was. A picture of a
    held-back image, NAME.preview.png, is written as learning goes on.
    """
    from AutoPromptSAMLib.backbones.lora import rank_for, takes_lora
    from AutoPromptSAMLib.datasets import read_dataset
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import general_network
    from AutoPromptSAMLib.training.learn import learn as learn_task
    from AutoPromptSAMLib.training.settings import Settings

    picture = output.with_suffix(".preview.png")
    _check_output(output)
    check_output(picture)
    objects = list(dict.fromkeys(objects))
    dataset = read_dataset(data)
    examples = _draw(dataset, objects, shots, seed)
    backbone = _backbone(model, device)
    start = None if from_scratch else general_network(backbone)
    settings = Settings(minutes=minutes, steps=steps, seed=seed, lora=rank_for(backbone, lora))
    if settings.lora and backbone.device.type == "cpu":
        text = "With LoRA all images of a step are encoded anew: on the CPU it takes about nine times as long."
        console.print(text, style="yellow", soft_wrap=True)
    if lora is None and not settings.lora and backbone.device.type == "cuda" and takes_lora(backbone):
        console.print("The model itself stays as it is; to let it learn, too: pip install peft.", style="yellow")
    if paper:
        settings = replace(settings, optimiser="sgd", learning_rate=0.01, dice_only=True, glances=0)
    with _stoppable(", ".join(objects)) as stopper:
        learned = learn_task(
            backbone, examples, objects, settings, start, stopper, output.with_suffix(".part"),
            _preview_writer(picture), _cache(),
        )  # fmt: skip
    learned.save(
        output,
        backbone,
        {
            "data": dataset.name,
            "shots": [example.name for example in examples],
            "started_from_general": start is not None,
        },
    )
    table = Table("objects", "images", "steps", "seconds", "held-back Dice", "ended", title=str(output))
    dice = "none held back"
    if not math.isnan(learned.best_dice):
        dice = f"{learned.best_dice:.3f} on {learned.held_back} image{'s' if learned.held_back > 1 else ''}"
    table.add_row(
        ", ".join(objects), str(len(examples)), str(learned.steps), f"{learned.seconds:.0f}", dice, learned.stopped
    )
    console.print(table)
    typer.echo(str(output))
    _end(learned)


def train(
    data: Data,
    output: Output,
    model: Model = "lite-medsam",
    minutes: Annotated[float, typer.Option(help="So many minutes of training, after encoding.", min=0.01)] = 240.0,
    views: Annotated[int, typer.Option(help="Views of every image that are encoded.", min=2)] = 2,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    start: Annotated[
        Path | None,
        typer.Option(help="General weights to go on from, also those of another model; else from nothing."),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train general weights on all sets of a folder whose `use` is `train`; a killed run goes on from where it was.

    Encoded images are kept for the next run, up to 8 GB of them in the cache folder's `training`.
    """
    from AutoPromptSAMLib.prompters.proxy_prompt.weights import load_start
    from AutoPromptSAMLib.training.general import train_general
    from AutoPromptSAMLib.training.settings import Settings

    _check_output(output)
    backbone = _backbone(model, device)
    first = None if start is None else load_start(start, backbone)
    sources = _gathered(backbone, data, views, seed)
    settings = Settings(
        steps=10**6, minutes=minutes, supports=4, targets=2, views=views, evaluate_every=100, patience=10**6,
        learning_rate=rate, averaging=0.998, seed=seed,
    )  # fmt: skip
    with _stoppable("General weights") as stopper:
        learned = train_general(backbone, sources, settings, stopper, output.with_suffix(".part"), first)
    about: dict[str, Any] = {"sets": {source.name: len(source.shots) for source in sources}}
    if start is not None:
        about["started_from"] = start.name
    learned.save(output, backbone, about)
    console.print(f"{learned.steps} steps, {learned.seconds:.0f} s, held-back Dice {learned.best_dice:.3f}")
    typer.echo(str(output))
    _end(learned)


def train_adapter(
    data: Data,
    output: Output,
    model: Model = "lite-medsam",
    minutes: Annotated[float, typer.Option(help="So many minutes of training, after encoding.", min=0.01)] = 60.0,
    views: Annotated[int, typer.Option(help="Views of every image that are encoded.", min=1)] = 2,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    seed: Seed = 0,
    device: Device = "auto",
) -> None:
    """Train a Multi-Prompt Adapter, by which a model takes clicks and loose boxes, on all sets whose `use` is `train`.

    Ctrl-C keeps what was trained so far. Encoded images are kept for the next run, as by `train`.
    """
    from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone
    from AutoPromptSAMLib.backbones.sam_family import SamBackbone
    from AutoPromptSAMLib.training import adapter

    _check_output(output)
    plain = _backbone(model, device)
    if not isinstance(plain, SamBackbone) or isinstance(plain, AdaptedBackbone):
        raise PromptError(f"{model} cannot be given an adapter; choose a SAM model without one.")
    backbone = AdaptedBackbone(plain, plain.card)
    sources = _gathered(plain, data, views, seed)
    settings = adapter.AdapterSettings(minutes=minutes, learning_rate=rate, seed=seed)
    with _stoppable("Multi-Prompt Adapter") as stopper:
        history = adapter.train_adapter(backbone, sources, settings, stopper)
        cancelled = stopper.cancelled
    if not history:
        raise Cancelled("Cancelled before anything was trained.", goes_on=False)
    sets = {source.name: len(source.shots) for source in sources}
    digest = backbone.save(output, {"sets": sets, "steps": len(history), "loss": history[-1][1], "seed": seed})
    console.print(f"{len(history)} steps; SHA-256 for the card: {digest}")
    typer.echo(str(output))
    if cancelled:
        raise Cancelled("Cancelled; what was trained so far is in the file, and ends there.", goes_on=False)


def _gathered(backbone: Backbone, data: Path, views: int, seed: int) -> list[Source]:
    """All sets of a folder that may train weights, encoded. Raises PromptError when there is none."""
    from AutoPromptSAMLib.datasets import find_datasets
    from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
    from AutoPromptSAMLib.training.pool import gather

    sets = [dataset for dataset in find_datasets(data) if dataset.use == "train"]
    if not sets:
        raise PromptError(f"No set in {data} may train weights; write `use: train` into the dataset.yaml of one.")
    with console.status("Encoding") as status:
        return gather(
            backbone, sets, ProxyPromptConfig.small().canvas_size, views, seed, _training_cache(),
            lambda name, n: status.update(Text(f"Encoding {name}, image {n + 1}")), _say_left_out,
        )  # fmt: skip


def _end(learned: Learned) -> None:
    """Raises Cancelled for what a person ended: the file is there, and the same command goes on."""
    if learned.stopped == "cancelled":
        raise Cancelled("Cancelled; the best so far is in the file.")


def _draw(dataset: Dataset, objects: list[str], shots: int, seed: int) -> list[Example]:
    """Images that show an object, of as many groups as there are. Raises PromptError when there are too few."""
    from AutoPromptSAMLib.datasets import sample_pairs
    from AutoPromptSAMLib.training.shots import examples_of

    found: list[Example] = []
    with console.status("Reading images"):
        for pair in sample_pairs(dataset, None, seed):
            if len(found) >= shots:
                break
            found += examples_of(dataset, [pair], objects, on_unusable=_say_left_out)
    if len(found) < 2:
        raise PromptError(
            f"{dataset.name} has {len(found)} images of {', '.join(objects)}, but learning needs two; name an object "
            "that `autopromptsam bench quality --list` shows for it."
        )
    return found[:shots]


def _say_left_out(unusable: UnusablePair) -> None:
    text = f'Pair "{unusable.pair.id}" was left out: {unusable.reason}'
    console.print(text, style="yellow", highlight=False, soft_wrap=True)


def _check_output(output: Path) -> None:
    """Asked before the work: what was learned for minutes must not get lost because it cannot be written."""
    if output.suffix != ".safetensors":
        raise typer.BadParameter("the file must end in .safetensors", param_hint="--output")
    check_output(output)
    free = shutil.disk_usage(output.parent).free // 10**6
    if free < _LEAST_FREE:
        raise StorageError(
            f"{output} cannot be learned because its disk has {free} MB free and {_LEAST_FREE} are needed; free some "
            "space or choose another place."
        )


def _backbone(model: str, device: str) -> Backbone:
    from AutoPromptSAMLib.backbones import load_backbone
    from AutoPromptSAMLib.zoo import get_card

    fetch_weights(get_card(model))
    with console.status(f"Loading {model}"):
        return load_backbone(model, device)


def _cache() -> Any:
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.zoo import home

    # Learning goes through all images in turn: memory would only ever hold those that come last again.
    return EmbeddingCache(home() / "embeddings", memory_bytes=0)


def _training_cache() -> Any:
    """Of its own: what is read in turn must fit as a whole, or every image has gone when it is wanted again."""
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.zoo import home

    return EmbeddingCache(home() / "training", memory_bytes=0, disk_bytes=_TRAINING_DISK)


def _preview_writer(path: Path) -> Callable[[Preview], None]:
    """Writes previews twice as large as the network sees them, for people. A disk that is full stops no learning."""
    from PIL import Image

    failed = False

    def write(preview: Preview) -> None:
        nonlocal failed
        picture = Image.fromarray(preview.picture())
        larger = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST)
        try:
            with atomic_path(path) as temporary:
                larger.save(temporary, "PNG")
        except StorageError as error:
            if not failed:
                console.print(f"Learning goes on without its picture: {error}", style="yellow", soft_wrap=True)
            failed = True

    return write
