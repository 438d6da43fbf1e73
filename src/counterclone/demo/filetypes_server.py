"""The file types behind the Open Inference Protocol: `python -m counterclone.demo.filetypes_server FD`."""

from __future__ import annotations

import sys

import numpy as np

from counterclone.demo import serving
from counterclone.demo.filetypes import INPUT, MODEL, OUTPUT, FileTypes
from counterclone.testing.oip_server import Model, OipServer, Tensor
from counterclone.testing.oip_tensors import Array


def app() -> OipServer:
    """The network as its authors made it, and nothing of ours before it."""
    types = FileTypes()
    session, of = types.session(), types.settings

    def run(inputs: dict[str, Array]) -> dict[str, Array]:
        # Row by row: a batch is no faster, takes memory for its one-hot bytes, and moves scores by up to 0.005.
        rows = [session.run([OUTPUT], {INPUT: row[None]})[0] for row in inputs[INPUT]]
        return {OUTPUT: np.concatenate(rows)}

    return OipServer({MODEL: Model(
        inputs=[Tensor(INPUT, "INT32", (-1, of.beg_size + of.end_size))],
        outputs=[Tensor(OUTPUT, "FP32", (-1, len(of.target_labels_space)))],
        run=run, labels=of.target_labels_space)})


def main(descriptor: str) -> None:
    """Serve on a socket that the parent process listens on."""
    serving.serve(app(), int(descriptor))


if __name__ == "__main__":
    main(*sys.argv[1:])
