"""Every extension point: the architecture on four pages.

A plug-in is a frozen spec (see `plugins.Spec`) whose fields are its TOML keys; what runs is started from
it. The laws named here are contract checks in `counterclone.testing`, run for every plug-in.
"""

from counterclone.protocols.copying import (
    PROOF_PATH,
    TOKEN_FILE,
    TOKEN_VARIABLE,
    Asking,
    Attack,
    Embedder,
    Imitation,
    Making,
    Prior,
    Surrogate,
    Target,
    Writer,
)
from counterclone.protocols.guarding import (
    Body,
    Dialect,
    Flagging,
    LimitStore,
    Policy,
    Release,
    Remembering,
    RiskSource,
    Rule,
    SpeechPolicy,
    SpeechRelease,
)
from counterclone.protocols.marking import (
    Case,
    Embedded,
    EmbeddedTexts,
    Examination,
    Fingerprint,
    Ledger,
    Mark,
    TextWatermark,
    Watermark,
)
from counterclone.protocols.watching import Detector, States, Tracker

__all__ = [
    "PROOF_PATH",
    "TOKEN_FILE",
    "TOKEN_VARIABLE",
    "Asking",
    "Attack",
    "Body",
    "Case",
    "Detector",
    "Dialect",
    "Embedded",
    "EmbeddedTexts",
    "Embedder",
    "Examination",
    "Fingerprint",
    "Flagging",
    "Imitation",
    "Ledger",
    "LimitStore",
    "Making",
    "Mark",
    "Policy",
    "Prior",
    "Release",
    "Remembering",
    "RiskSource",
    "Rule",
    "SpeechPolicy",
    "SpeechRelease",
    "States",
    "Surrogate",
    "Target",
    "TextWatermark",
    "Tracker",
    "Watermark",
    "Writer",
]
