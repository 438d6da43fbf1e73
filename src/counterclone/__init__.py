"""What a model's owner does against model stealing: audit, guard, watch, prove, tune."""

from typing import TYPE_CHECKING, Any

from counterclone.errors import CountercloneError

if TYPE_CHECKING:
    from counterclone.compose import Guard

__all__ = ["CountercloneError", "Guard"]


def __getattr__(name: str) -> Any:  # Guard brings the journal's libraries; the command line is quick without
    if name == "Guard":
        from counterclone.compose import Guard

        return Guard
    raise AttributeError(f"module 'counterclone' has no attribute '{name}'")
