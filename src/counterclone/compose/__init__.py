"""Configuration to live objects: the only place that joins the engines."""

from counterclone.compose.guard import HISTORY_FILE, LOCK_FILE, Guard
from counterclone.compose.secrets import KEY_FILE, root_key
from counterclone.compose.settings import check, dialects, identity, key_ring, options, rules
from counterclone.compose.terms import policies, terms

__all__ = [
    "HISTORY_FILE",
    "KEY_FILE",
    "LOCK_FILE",
    "Guard",
    "check",
    "dialects",
    "identity",
    "key_ring",
    "options",
    "policies",
    "root_key",
    "rules",
    "terms",
]
