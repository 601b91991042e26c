"""What the commands of ``autopromptsam bench`` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from AutoPromptSAMLib.console import console
from AutoPromptSAMLib.errors import Cancelled

if TYPE_CHECKING:
    from AutoPromptSAMLib.evaluation import measuring
    from AutoPromptSAMLib.evaluation.measuring import OnProgress

Outcome = TypeVar("Outcome", bound="measuring.Outcome[Any]")


def names(text: str) -> tuple[str, ...]:
    """What stands between commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def numbers(text: str) -> tuple[int, ...]:
    """The seeds that "0-4" or "0,2" means. Raises typer.BadParameter."""
    found: list[int] = []
    for part in names(text):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()) or part.endswith("-"):
            raise typer.BadParameter(f'"{text}" is no list of seeds such as 0-4 or 0,2', param_hint="--seeds")
        found += range(int(first), int(last or first) + 1)
    if not found:
        raise typer.BadParameter("give at least one seed, such as 0", param_hint="--seeds")
    return tuple(dict.fromkeys(found))


def measure(run: Callable[[OnProgress], Outcome], publish: Callable[[Outcome], str], report: Path) -> None:
    """``run`` a benchmark, ``publish`` what came of it and say where; Cancelled when it was interrupted."""
    with measuring_bar() as progress:
        outcome = run(progress)
    with console.status("Writing the report"):
        text = publish(outcome)
    console.print(text, soft_wrap=True)
    if not outcome.complete:
        raise Cancelled("Cancelled; what was finished before is kept.")
    typer.echo(str(report))


def need_models(models: Sequence[str]) -> None:
    """Get the weights of models that are not on this machine; ModelError when there are none."""
    from AutoPromptSAMLib.zoo import ensure, get_card

    for card in map(get_card, models):
        with console.status(f"Getting {card.title}"):
            ensure(card)


@contextmanager
def measuring_bar() -> Iterator[OnProgress]:
    """A progress bar; what is being done stands beside it."""
    columns = (TextColumn("Measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[what]}", markup=False), console=console, transient=True) as bar:
        task = bar.add_task("", total=None, what="")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, what=what)
