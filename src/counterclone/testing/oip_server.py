"""A model server that speaks the Open Inference Protocol v2: Triton's stand-in for tests, examples, demos.

Bodies, errors and statuses are Triton's as far as its documents tell them; health routes answer with a status
alone. It has two of Triton's extensions, binary tensors and classification, and says so; it
lists its models as KServe does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from counterclone.guard import asgi
from counterclone.testing import oip_tensors
from counterclone.testing.oip_tensors import Array, OipError, Tensor

__all__ = ["Model", "OipServer", "Tensor"]

VERSION = "2.0"
EXTENSIONS = ("classification", "binary_tensor_data")
HEADER_LENGTH = b"inference-header-content-length"
_HEALTH = frozenset({"/v2/health/live", "/v2/health/ready"})
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(/infer|/ready|)")


class Model(NamedTuple):
    """A model to serve.

    Attributes:
        inputs: what it takes.
        outputs: what it gives.
        run: arrays by the names of the inputs to arrays by the names of the outputs; text is `bytes` in an
            array of objects.
        labels: the names of its classes, for classification; none leave them out.
        versions: those that may be asked for, the last where none is.
    """

    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    run: Callable[[dict[str, Array]], Mapping[str, Array]]
    labels: Sequence[str] = ()
    versions: Sequence[str] = ("1",)

    def metadata(self, name: str) -> dict[str, Any]:
        """What a model's route tells of it."""
        return {"name": name, "versions": list(self.versions), "platform": "python",
                "inputs": [tensor.metadata() for tensor in self.inputs],
                "outputs": [tensor.metadata() for tensor in self.outputs]}


class Reply(NamedTuple):
    """What is sent back."""

    status: int
    content: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)


class OipServer:
    """The server, an ASGI app.

    Args:
        models: by name.
        name: what it calls itself.
    """

    def __init__(self, models: Mapping[str, Model], name: str = "oip-server") -> None:
        self._models = models
        self._name = name

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """One request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"an OIP server has no {scope['type']}")
        body = await asgi.whole_body(receive)
        try:
            reply = self._reply(scope["method"], asgi.app_path(scope), dict(scope["headers"]), body)
        except OipError as error:
            reply = _json(error.status, {"error": str(error)})
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.content))]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.content})

    def _reply(self, method: str, path: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
        found = _MODEL.fullmatch(path)
        if not found and path not in (*_HEALTH, "/v2", "/v2/models"):
            raise OipError("Not Found", 404)
        name, version, action = found.groups() if found else ("", None, path)
        if method != ("POST" if action == "/infer" else "GET"):
            raise OipError("Method Not Allowed", 405)
        if action in _HEALTH:
            return Reply(200)
        if action == "/v2":
            return _json(200, {"name": self._name, "version": VERSION, "extensions": EXTENSIONS})
        if action == "/v2/models":  # KServe's way to list them
            return _json(200, {"models": sorted(self._models)})
        if action == "/ready":
            return Reply(200 if self._find(name, version) else 400)
        model = self._find(name, version)
        if model is None:
            raise OipError(f"Request for unknown model: '{name}'{f' version {version}' if version else ''} is not "
                           "found", 404)
        if action == "/infer":
            return _infer(model, name, version or model.versions[-1], headers, body)
        return _json(200, model.metadata(name))

    def _find(self, name: str, version: str | None) -> Model | None:
        model = self._models.get(name)
        return model if model is not None and (version is None or version in model.versions) else None


def _json(status: int, document: object) -> Reply:
    return Reply(status, json.dumps(document).encode())


# Inference

def _infer(model: Model, name: str, version: str, headers: Mapping[bytes, bytes], body: bytes) -> Reply:
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise OipError("Unsupported compression type", 501)
    document, rest = _parted(headers, body)
    arrays = oip_tensors.read(oip_tensors.objects(document.get("inputs"), "inputs"), rest, model.inputs, name)
    wanted = _wanted(document, model, name)
    try:
        given = model.run(arrays)
    except Exception as error:  # the model's own; the client is told, as Triton does
        raise OipError(f"{type(error).__name__}: {error}", 500) from error
    outputs, parts = [], []
    for tensor, parameters in wanted:
        output, part = oip_tensors.write(tensor, given[tensor.name], parameters, model.labels)
        outputs.append(output)
        parts.append(part)
    answer = {"id": document["id"]} if document.get("id") else {}
    answer |= {"model_name": name, "model_version": version, "outputs": outputs}
    head, tail = json.dumps(answer).encode(), b"".join(parts)
    if not tail:
        return Reply(200, head)
    return Reply(200, head + tail, ((b"content-type", b"application/octet-stream"),
                                    (HEADER_LENGTH, b"%d" % len(head))))


def _parted(headers: Mapping[bytes, bytes], body: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON at the head of a request, and the binary tensors behind it."""
    given = headers.get(HEADER_LENGTH, b"%d" % len(body)).decode("latin-1")
    if not re.fullmatch("[0-9]{1,18}", given) or int(given) > len(body):
        raise OipError(f"inference header size should be in range (0, {len(body)}), got: {given}")
    length = int(given)
    try:
        document = json.loads(body[:length])
    except (ValueError, RecursionError) as error:
        raise OipError(f"failed to parse the request JSON buffer: {error}") from None
    return oip_tensors.members(document), body[length:]


def _wanted(document: Mapping[str, Any], model: Model, name: str) -> list[tuple[Tensor, dict[str, Any]]]:
    """The outputs to send, and how."""
    is_binary = oip_tensors.parameters(document).get("binary_data_output", False)
    known = {tensor.name: tensor for tensor in model.outputs}
    wanted = []
    for output in oip_tensors.objects(document.get("outputs", [{"name": each} for each in known]), "outputs"):
        tensor = known.get(str(output.get("name")))
        if tensor is None:
            raise OipError(f"unexpected inference output '{output.get('name')}' for model '{name}'")
        wanted.append((tensor, {"binary_data": is_binary, **oip_tensors.parameters(output)}))
    return wanted
