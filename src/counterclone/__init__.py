"""What a model's owner does against model stealing: audit, guard, watch, prove, tune."""

import importlib
from typing import TYPE_CHECKING, Any

from counterclone.errors import CountercloneError

if TYPE_CHECKING:
    from counterclone import audit
    from counterclone.compose import Guard

__all__ = ["CountercloneError", "Guard", "audit"]


def __getattr__(name: str) -> Any:  # Guard brings the journal's libraries; the command line is quick without
    if name == "audit":
        return importlib.import_module("counterclone.audit")
    if name == "Guard":
        from counterclone.compose import Guard

        return Guard
    raise AttributeError(f"module 'counterclone' has no attribute '{name}'")
