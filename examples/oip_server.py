"""A digits classifier behind the Open Inference Protocol: `python oip_server.py --port 9000`."""

from __future__ import annotations

import argparse

import uvicorn
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from counterclone.testing.oip_server import Model, OipServer, Tensor

pixels, digits = load_digits(return_X_y=True)
classifier = LogisticRegression(max_iter=2000).fit(pixels / 16, digits)
app = OipServer({"digits": Model(
    inputs=[Tensor("pixels", "FP32", (-1, 64))],
    outputs=[Tensor("scores", "FP32", (-1, 10))],
    run=lambda arrays: {"scores": classifier.predict_proba(arrays["pixels"])},
)})

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    uvicorn.run(app, port=parser.parse_args().port)
