"""What an owner does about model stealing, as an auditor reads it: facts, what they cover, and what is left."""

from counterclone.posture.controls import controls
from counterclone.posture.facts import (
    Audited,
    Busy,
    Chosen,
    Control,
    Epoch,
    Facts,
    InPlace,
    Posture,
    Standing,
    Traffic,
    Version,
    counted,
)
from counterclone.posture.risks import risks

__all__ = [
    "Audited",
    "Busy",
    "Chosen",
    "Control",
    "Epoch",
    "Facts",
    "InPlace",
    "Posture",
    "Standing",
    "Traffic",
    "Version",
    "controls",
    "counted",
    "risks",
]
