"""A small model behind OpenAI's route, with a mark where a hook is given: `... FD FOLDER SEED [HOOK]`."""

from __future__ import annotations

import sys
from pathlib import Path

from counterclone.demo import serving, small_model
from counterclone.serving.completions import Completions
from counterclone.serving.hook import Hook


def main(descriptor: str, folder: str, seed: str, hook: str | None = None) -> None:
    """Serve on a socket that the parent process listens on."""
    import torch

    from counterclone.serving.transformers import Model

    small_model.quiet()
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    loaded = None if hook is None else Hook.load(hook, small_model.fixed(Path(folder)))
    serving.serve(Completions(Model(folder, loaded)), int(descriptor))


if __name__ == "__main__":
    main(*sys.argv[1:])
