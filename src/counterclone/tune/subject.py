"""What is tuned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from counterclone.audit import Deployment, access
from counterclone.audit.engine import finished
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
        folder: of the token of a sweep beyond the loopback.
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

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """One permission for all that is asked of a host beyond this machine.

        Raises:
            ConfigError: nobody gives it, or the host doesn't show that its owner does.
            TargetUnreachable: nobody answers there.
        """
        url = self.predict.url if isinstance(self.predict, Endpoint) else ""
        if url:
            finished(access.check(url, self.authorized_by, Path(self.folder)))
        yield
        if url and not access.is_loopback(url):
            access.spend(Path(self.folder))
