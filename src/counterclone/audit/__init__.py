"""How cheaply a model can be copied through its answers: published attacks, counted and priced."""

from __future__ import annotations

from counterclone.audit.engine import Deployment, run
from counterclone.audit.result import Audit
from counterclone.audit.surfaces import SURFACES, Surface

__all__ = ["SURFACES", "Audit", "Deployment", "Surface", "run"]
