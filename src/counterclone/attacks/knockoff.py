"""Students of the answers to a pool of inputs."""

from __future__ import annotations

from typing import ClassVar

from counterclone.attacks._texts import TextTransfer
from counterclone.attacks._transfer import Selection, Transfer
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior
from counterclone.randomness import Generator


class Knockoff(Spec, frozen=True):
    """Train students on the answers to a pool of inputs.

    Whoever has inputs like the deployment's asks them and fits a model to the answers, whatever it copies. Five
    families are tried (a Gaussian process of the log-probabilities, a softmax regression, a network, extremely
    randomised trees and a random forest), and the one that agrees best with held-out answers is kept, so nothing
    is tuned. It takes whole rows, the largest few or labels as they come. With a budget below the pool's size it
    asks where a student is unsure and far from what was asked, where its first, random, answers show that this
    pays; with a larger one it asks copies: of images moved by a pixel, or of inputs whose features are drawn from
    two. Texts are learnt by a ridge of hashed words and runs of characters; beyond the pool they are spliced.

    Needs a pool; without one it asks inputs drawn evenly, which teach little. It proves no exact copy.

    Orekondy et al. 2019, "Knockoff Nets: Stealing Functionality of Black-Box Models", section 4; the selection:
    Pal et al. 2020, "ActiveThief: Model Extraction Using Active Learning and Unannotated Public Data", section 4.

    Attributes:
        selection: of a pool that is larger than the budget: `random` draws, `active` chooses, `auto` finds out.
    """

    selection: Selection = "auto"

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "text"})
    is_exact: ClassVar[bool] = False

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and learn."""
        if isinstance(prior.pool, list):
            return TextTransfer(prior, rng).run()
        return Transfer(prior, self.selection, rng).run()
