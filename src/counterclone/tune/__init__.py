"""Which settings to run: what honest users lose by each, against what a copy costs through it."""

from counterclone.tune.choice import Limits
from counterclone.tune.crowd import Crowd
from counterclone.tune.result import Point, Tuned
from counterclone.tune.settings import Setting, settings
from counterclone.tune.subject import Subject
from counterclone.tune.sweep import tune

__all__ = ["Crowd", "Limits", "Point", "Setting", "Subject", "Tuned", "settings", "tune"]
