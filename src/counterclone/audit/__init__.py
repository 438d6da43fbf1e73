"""How cheaply a model can be copied through its answers: published attacks, counted and priced."""

from __future__ import annotations

from counterclone.audit.engine import DEFAULT_SEEDS, Deployment, run
from counterclone.audit.result import Audit
from counterclone.audit.surfaces import SURFACES, Surface
from counterclone.audit.utility import Utility

__all__ = ["DEFAULT_SEEDS", "SURFACES", "Audit", "Deployment", "Surface", "Utility", "run"]
