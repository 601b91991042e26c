"""Keys and values of a ``dataset.yaml``, each read once, so that the ones that nobody read can be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from AutoPromptSAMLib.datasets.errors import DatasetError


class _OnceLoader(yaml.SafeLoader):
    """A loader that refuses a key that is there twice; YAML's own rule would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f'"{twice}" is there twice', node.start_mark)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """The content of a YAML file; DatasetError, with the line where there is one, when it cannot be read."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)
    except FileNotFoundError:
        raise DatasetError(str(path), "", "the file does not exist; write one (docs/datasets.md says how).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(str(path), "", f"the file cannot be read ({error}); correct it.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it is no YAML"
        raise DatasetError(str(path), "", f"the file cannot be read as YAML{where} ({what}); correct it.") from None
    except (TypeError, ValueError, RecursionError) as error:  # keys that are lists, dates that are none
        raise DatasetError(str(path), "", f"the file cannot be read as YAML ({error}); correct it.") from None


class Section:
    """A mapping that remembers which keys were read. ``dataset`` and ``pair`` are what its errors name."""

    def __init__(self, dataset: str, where: str, content: Any, pair: str = "") -> None:
        self.dataset, self.where, self.content, self.pair = dataset, where, content, pair
        self.seen: set[str] = set()
        if not isinstance(content, dict):
            at = f'"{where.rstrip(".")}"' if where else "the file"
            raise DatasetError(dataset, pair, f"{at} must hold keys and values; correct dataset.yaml.")

    def refuse(self, key: str, what: str) -> NoReturn:
        """DatasetError that ``key`` ``what``."""
        raise DatasetError(self.dataset, self.pair, f'"{self.where}{key}" {what}; correct dataset.yaml.')

    def value(self, key: str) -> Any:
        """The value of a key that must be there."""
        self.seen.add(key)
        if key not in self.content:
            self.refuse(key, "is missing")
        return self.content[key]

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty; ``default`` where the key is not there."""
        if default is not None and key not in self.content:
            return default
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            self.refuse(key, f"must be text, not {value!r:.40}")
        return value.strip()

    def name(self, key: str) -> str:
        """A text or a whole number, as text: names of patients and videos often are numbers."""
        value = self.value(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text(key)

    def index(self, key: str) -> int:
        """A whole number from 0."""
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.refuse(key, f"must be a whole number from 0, not {value!r:.40}")
        return value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of ``choices``."""
        value = self.text(key, default)
        if value not in choices:
            self.refuse(key, f'must be one of {", ".join(choices)}, not "{value}"')
        return value

    def path(self, key: str, folder: Path) -> Path:
        """A path relative to ``folder`` that stays inside it, links followed; absolute. The file need not be there."""
        text = self.text(key)
        try:
            inside = not Path(text).is_absolute() and (folder / text).resolve().is_relative_to(folder)
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            self.refuse(key, f'must be a path inside the folder of the dataset, which "{text}" is not')
        return folder / Path(text)

    def section(self, key: str) -> Section:
        """A mapping below this one."""
        return Section(self.dataset, f"{self.where}{key}.", self.value(key), self.pair)

    def sections(self, key: str) -> list[Section]:
        """A list of mappings with at least one entry."""
        value = self.value(key)
        if not isinstance(value, list) or not value:
            self.refuse(key, "must be a list with at least one entry")
        return [
            Section(self.dataset, f"{self.where}{key}[{number}].", part, f"{number + 1}")
            for number, part in enumerate(value)
        ]

    def finish(self) -> None:
        """DatasetError when there is a key that nobody read."""
        unknown = sorted(str(key) for key in self.content if key not in self.seen)
        if unknown:
            self.refuse(unknown[0], "is no key of a dataset.yaml")
