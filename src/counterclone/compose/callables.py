"""Callables by their names, as the command line takes them."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from counterclone.errors import ConfigError
from counterclone.targets.local import Predict


def named(name: str, option: str, method: str) -> Predict:
    """A callable by its name; of a model the named method.

    Raises:
        ConfigError: there is none; the message names the option.
    """
    return _callable(_found(name, option), name, option, method)


def several(name: str, option: str, method: str) -> list[Predict]:
    """A callable, or each of a list or tuple of them.

    Raises:
        ConfigError: there is none; the message names the option.
    """
    found = _found(name, option)
    each = found if isinstance(found, list | tuple) else [found]
    return [_callable(one, name, option, method) for one in each]


def _found(name: str, option: str) -> Any:
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        others = "" if option in ("--ids", "--independent") else ", or a URL"
        raise ConfigError(f"{option} {name}: expected pkg.mod:function{others}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise ConfigError(f"{option} {name}: {module_name} can't be imported ({type(error).__name__}: {error}); "
                          "correct it, or run in the folder that has it") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{option} {name}: there is no '{part}' in {module_name}; correct the name")
        found = getattr(found, part)
    return found


def _callable(found: Any, name: str, option: str, method: str) -> Predict:
    found = getattr(found, method, found)
    if not callable(found):
        returned = "scores" if method == "predict_proba" else "a whole number for each"
        raise ConfigError(f"{option} {name}: is a {type(found).__name__}; expected a function that takes a batch "
                          f"and returns {returned}")
    predict: Predict = found
    return predict
