"""What is tuned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from counterclone.audit import Deployment
from counterclone.audit.preparation import PoolKind
from counterclone.targets.http import Endpoint
from counterclone.targets.local import Predict


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is tuned, as `audit.run` takes it.

    Attributes:
        predict: the model, without a guard.
        pool: inputs that a copier may have.
        evaluate: inputs that honest users send, with true labels where their loss is to be told.
        deployment: what callers pay and may ask.
        copy_share: of a 90 % copy through the setting that is served, what an account may ask in a day; 0 for no
            such limit.
        pool_kind: whether the pool is like what the users send.
        returns: whether `predict` returns probabilities or logits.
        seconds: how long a call may take.
        name: of the target in reports.
        authorized_by: who allows it.
        folder: of the token of an audit beyond the loopback.
    """

    predict: Predict | Endpoint
    pool: Any = None
    evaluate: Any = None
    deployment: Deployment = field(default_factory=Deployment)
    copy_share: float = 0.0
    pool_kind: PoolKind = "own"
    returns: Literal["scores", "logits"] = "scores"
    seconds: float = 60.0
    name: str = ""
    authorized_by: str = ""
    folder: Path | str = "."
