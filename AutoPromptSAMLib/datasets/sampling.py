"""Which pairs are taken, and which groups go where: at random, by a seed, and by group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from AutoPromptSAMLib.datasets.description import Dataset, Pair
from AutoPromptSAMLib.datasets.errors import DatasetError


def sample_pairs(dataset: Dataset, limit: int | None, seed: int) -> list[Pair]:
    """At most ``limit`` pairs (None: all) in random order: one of every group before a second one of any.

    So eight pairs are of eight patients where there are as many. The first n pairs of a larger limit are those of
    limit n: who finds a pair unusable goes on with the next. The same ``seed`` gives the same order, whatever the
    order of the pairs in the file.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Pair]] = {}
    for pair in sorted(dataset.pairs, key=lambda pair: pair.id):
        groups.setdefault(pair.group, []).append(pair)
    shuffled = []
    for name in sorted(groups):
        members = groups[name]
        shuffled.append([members[n] for n in rng.permutation(len(members))])
    order = [shuffled[n] for n in rng.permutation(len(shuffled))]
    longest = max(len(members) for members in order)
    pairs = [members[turn] for turn in range(longest) for members in order if turn < len(members)]
    return pairs[:limit]


def split_groups(groups: Iterable[str], fractions: Mapping[str, float], seed: int) -> dict[str, tuple[str, ...]]:
    """Share out groups at random, so that no group is in two parts: part -> its groups, sorted.

    ``groups``: names, repeated ones count once. ``fractions``: part -> its share of the groups, adding up to 1; every
    part whose share is above 0 gets at least one group. Raises DatasetError when that cannot be.
    """
    names = np.array(sorted(set(groups)), dtype=object)
    shares = np.array(list(fractions.values()), dtype=np.float64)
    if not len(shares) or not np.isfinite(shares).all() or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise DatasetError(
            "split", "", f"the shares {dict(fractions)} must be from 0 to 1 and add up to 1; correct them."
        )
    if len(names) < np.count_nonzero(shares):
        raise DatasetError(
            "split",
            "",
            f"{len(names)} groups cannot be shared out to {np.count_nonzero(shares)} parts; "
            "give more groups or fewer parts.",
        )
    counts = np.floor(shares * len(names) + 1e-9).astype(int)
    for part in np.argsort(-(shares * len(names) - counts), kind="stable")[: len(names) - counts.sum()]:
        counts[part] += 1
    while (empty := np.flatnonzero((counts == 0) & (shares > 0))).size:
        counts[int(counts.argmax())] -= 1
        counts[empty[0]] += 1
    shuffled = names[np.random.default_rng(seed).permutation(len(names))]
    parts = np.split(shuffled, np.cumsum(counts)[:-1])
    return {name: tuple(sorted(part)) for name, part in zip(fractions, parts, strict=True)}
