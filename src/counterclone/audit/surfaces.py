"""What an API shows: the settings that an audit compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from counterclone import plugins
from counterclone.errors import ConfigError
from counterclone.protocols import Policy, Rule, Target
from counterclone.queries import Features
from counterclone.randomness import Prf
from counterclone.rules.range import Range
from counterclone.targets.guarded import Guarded

SCORES = frozenset({"labels", "scores"})
EVERYTHING = SCORES | {"logits", "ids"}
ONLY_LABELS = frozenset({"labels"})


@dataclass(frozen=True, kw_only=True)
class Surface:
    """One way to show a model.

    Attributes:
        name: what reports call it.
        policies: the guard's, as tables, in order.
        rules: likewise, for what comes in.
        float_bits: the width of the numbers, 64, 32 or 16.
        is_open: whether inputs beyond the sensible range are answered as they are; else they are clipped to it,
            unless rules say otherwise.
        shows: what an answer has beside the label: `scores`, `logits`, `ids`.
    """

    name: str
    policies: tuple[Mapping[str, Any], ...] = ()
    rules: tuple[Mapping[str, Any], ...] = ()
    float_bits: int = 64
    is_open: bool = True
    shows: frozenset[str] = EVERYTHING

    def before(self, target: Target, noise: Prf, *, lower: Features, upper: Features) -> Guarded:
        """A target behind this surface.

        Args:
            target: the model itself.
            noise: the PRF of the policies' noise.
            lower: the least sensible value of each feature, (features,); empty for texts.
            upper: the largest.

        Raises:
            ConfigError: the table of a policy or a rule is wrong.
        """
        where = f"surface {self.name}"
        policies = [cast(Policy, plugins.build("policies", table, where)) for table in self.policies]
        rules = [cast(Rule, plugins.build("rules", table, where)) for table in self.rules]
        if not self.is_open and not rules and len(lower):
            rules = [Range(low=tuple(lower), high=tuple(upper), mode="clip")]
        return Guarded(target, policies, noise, rules=rules, float_bits=self.float_bits, shows=self.shows)


_LABELS = Surface(name="labels", policies=({"kind": "labels"},), shows=ONLY_LABELS)
SURFACES = {surface.name: surface for surface in (
    Surface(name="full"),
    Surface(name="clipped", is_open=False),
    Surface(name="float32", float_bits=32),
    Surface(name="top-3", policies=({"kind": "truncation", "top_k": 3},), shows=SCORES),
    Surface(name="top-1", policies=({"kind": "truncation", "top_k": 1},), shows=SCORES),
    *(Surface(name=f"decimals-{n}", policies=({"kind": "rounding", "decimals": n},), shows=SCORES)
      for n in (6, 5, 4, 3, 2, 1)),
    Surface(name="noise", policies=({"kind": "noise", "scale": 0.5}, {"kind": "rounding", "decimals": 2}),
            shows=SCORES),
    Surface(name="reverse-sigmoid", policies=({"kind": "reverse_sigmoid"},), shows=SCORES),
    _LABELS,
    replace(_LABELS, name="labels-clipped", is_open=False),
)}
"""The sweep: from everything to labels alone."""


def surface(name: str) -> Surface:
    """A surface of the sweep by its name.

    Raises:
        ConfigError: there is no such surface.
    """
    if name not in SURFACES:
        names = list(SURFACES)
        raise ConfigError(f"there is no surface '{name}'{plugins.did_you_mean(name, names)}; expected one of "
                          f"{', '.join(names)}")
    return SURFACES[name]
