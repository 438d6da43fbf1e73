"""A guarded classifier: `uvicorn guarded_digits:app` in this folder."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from counterclone import Guard

pixels, digits = load_digits(return_X_y=True)
model = LogisticRegression(max_iter=2000).fit(pixels / 16, digits)
app = FastAPI()
app.add_middleware(Guard, config=Path(__file__).with_suffix(".toml"))


class Request(BaseModel):
    instances: list[list[float]]


class Response(BaseModel):
    predictions: list[list[float]]


@app.post("/predict")
def predict(request: Request) -> Response:
    return Response(predictions=model.predict_proba(request.instances).tolist())
