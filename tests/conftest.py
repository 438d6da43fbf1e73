from __future__ import annotations

from hypothesis import settings

settings.register_profile("counterclone", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("counterclone")
