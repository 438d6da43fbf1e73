"""Open Inference Protocol v2, in JSON and with binary tensors (Triton, KServe, MLServer)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from counterclone.answers import Answer, Rows, find_outputs, is_finite
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.guard.dialects import _json, _oip_inputs, _oip_outputs, _tensors
from counterclone.guard.dialects._labels import Unmappable
from counterclone.guard.dialects._tensors import HEADER, Malformed
from counterclone.plugins import Spec
from counterclone.protocols import Body
from counterclone.queries import Query

_INFER = re.compile(r"/v2/models/([^/]+)(?:/versions/[^/]+)?/infer")


class Parts(NamedTuple):
    """An answer, for writing it again.

    Attributes:
        body: as it came.
        fields: of its JSON.
        outputs: the fields of each.
        binary: the datatypes and places of floating-point outputs behind the JSON, by name.
    """

    body: Body
    fields: _json.Fields
    outputs: list[_json.Fields]
    binary: dict[str, tuple[str, slice]]


class Oip(Spec, frozen=True):
    """`POST /v2/models/{model}[/versions/{version}]/infer`, tensors as JSON or binary behind it.

    The first axis of the inputs is the batch: the longest one among inputs of several axes. An input of
    another length belongs to every row. Inputs count in the order of their names. Outputs of a
    floating-point datatype whose rows are probabilities are edited, in the datatype that they have; all
    others, and health and metadata routes, pass byte for byte.
    """

    error_event: ClassVar[bytes | None] = None

    def model(self, method: str, path: str) -> str | None:
        """The model in an inference path, else None."""
        found = _INFER.fullmatch(path) if method == "POST" else None
        return found[1] if found else None

    def read_query(self, body: Body, model: str) -> Query:
        """Parse a request.

        Raises:
            UnknownFormat: no JSON object, no inputs, data that don't fit their shape or their datatype, or
                outputs asked for as text or in shared memory.
        """
        document, inputs = _oip_inputs.read(body)
        _refuse_wishes(document.get("outputs"))
        n_rows = _oip_inputs.count_rows([each.array for each in inputs])
        if not n_rows:
            raise UnknownFormat("the request has no rows; send at least one")
        columns = [_oip_inputs.by_row(each.array, n_rows) for each in inputs]
        if all(column.dtype.kind != "O" for column in columns):
            return Query(columns[0] if len(columns) == 1 else np.hstack(columns), model=model)
        # Tuples, since text in lists counts as the number that it spells, and BYTES don't.
        return Query([tuple(column[i].tolist() for column in columns) for i in range(n_rows)], model=model)

    def write_query(self, body: Body, query: Query) -> Body:
        """The request with the features of `query` in the place of its own."""
        assert query.features is not None  # a rule changes numeric queries only
        document, inputs = _oip_inputs.read(body)
        head, tail = _tensors.parted(body)
        content, edited = bytearray(tail), {}
        start = 0
        for each in inputs:
            if len(each.array) != query.n_rows:  # it belongs to every row
                start += each.array.size
                continue
            end = start + each.array.size // query.n_rows
            values = query.features[:, start:end]
            if each.place is None:
                original = np.asarray(document["inputs"][each.position]["data"])
                edited[each.position] = _json.raw(_json.like(values, original))
            else:
                content[each.place] = _tensors.packed(values, each.datatype)
            start = end
        if not edited:
            return Body(bytes(head) + content)
        fields = _json.fields(head)
        listed = msgspec.json.decode(fields["inputs"], type=list[_json.Fields])
        for position, data in edited.items():
            listed[position]["data"] = data
        head = msgspec.json.encode({**fields, "inputs": listed})
        return Body(head + content, _length(body, head))

    def can_read(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether an answer is JSON, alone or before binary tensors, that nobody compressed."""
        return _json.is_plain(headers) or (HEADER in headers and not _json.is_encoded(headers))

    def read_answer(self, body: Body, n_rows: int, scores: str) -> Answer:
        """Parse an answer.

        Raises:
            AnswerError: no inference answer, data that don't fill their shape, scores as text, or a named
                output that isn't probabilities.
        """
        try:
            head, tail = _tensors.parted(body)
            fields = _json.fields(head)
            outputs = msgspec.json.decode(fields.get("outputs", b""), type=list[_json.Fields])
            places = _tensors.places([_oip_outputs.parameters(tensor) for tensor in outputs], tail)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise AnswerError("the answer has no `outputs`; expected a list of tensors") from None
        except Malformed as error:
            raise AnswerError(f"{error}; expected each tensor as its parameters say") from None
        names = [_oip_outputs.text(tensor, "name") for tensor in outputs]
        if len(set(names)) < len(names):
            raise AnswerError("two outputs of the answer go by one name; expected a name for each")
        arrays: dict[str, NDArray[np.float64]] = {}
        binary = {}
        for name, tensor, place in zip(names, outputs, places, strict=True):
            array = _oip_outputs.values(tensor, None if place is None else tail[place])
            if array is not None:
                arrays[name] = array
                if place is not None:
                    binary[name] = (_oip_outputs.text(tensor, "datatype"), place)
        found = find_outputs(arrays, n_rows, scores)
        for name in arrays.keys() - found.keys():
            if not is_finite(arrays[name]):  # they could tell of some rows and not show it
                raise AnswerError(f"output '{name}' holds numbers that aren't finite; expected finite ones")
        is_scanned = bool(found) or not any(array.size for array in arrays.values())
        return Answer(found, Parts(body, fields, outputs, binary), is_scanned=is_scanned)

    def write_answer(self, answer: Answer, released: dict[str, Rows]) -> Body:
        """The answer with other rows; every other output and field stays byte for byte."""
        parts: Parts = answer.document
        head, tail = _tensors.parted(parts.body)
        headers: Mapping[bytes, bytes] = {}
        if released.keys() - parts.binary.keys():
            outputs = [_with_rows(tensor, answer, released, parts) for tensor in parts.outputs]
            head = msgspec.json.encode({**parts.fields, "outputs": outputs})
            headers = _length(parts.body, head)
        pieces: list[Any] = [head]
        start = 0
        for name, (datatype, place) in parts.binary.items():
            if name in released:
                narrow = _tensors.narrowed(released[name], datatype)
                pieces += [tail[start:place.start], answer.outputs[name].restored(narrow)]
                start = place.stop
        return Body(b"".join([*pieces, tail[start:]]), headers)

    def relabelled(self, body: Body, truths: Sequence[int], labels: Sequence[int]) -> Body | None:
        """Tensors of whole numbers that hold labels follow; None where a label is text."""
        head, tail = _tensors.parted(body)
        fields = _json.fields(head)
        outputs = msgspec.json.decode(fields["outputs"], type=list[_json.Fields])
        places = _tensors.places([_oip_outputs.parameters(tensor) for tensor in outputs], tail)
        content, is_edited = bytearray(tail), False
        try:
            for tensor, place in zip(outputs, places, strict=True):
                followed = _oip_outputs.relabelled(tensor, None if place is None else tail[place], truths, labels)
                if followed is None:
                    continue
                if place is None:
                    is_edited = True
                    tensor["data"] = msgspec.Raw(followed)
                else:
                    content[place] = followed
        except Unmappable:
            return None
        headers: Mapping[bytes, bytes] = {}
        if is_edited:
            head = msgspec.json.encode({**fields, "outputs": outputs})
            headers = _length(body, head)
        return Body(bytes(head) + content, headers)

    def error(self, status: int, code: str, message: str) -> bytes:
        """`{"error": message}`."""
        return orjson.dumps({"error": message})


def _length(body: Body, head: bytes) -> dict[bytes, bytes]:
    """The header that says where the JSON ends, if the body had it."""
    return {HEADER: b"%d" % len(head)} if HEADER in body.headers else {}


def _refuse_wishes(outputs: object) -> None:
    """What no policy could edit: scores as text (Triton's classification extension) or in shared memory."""
    for output in outputs if isinstance(outputs, list) else ():
        parameters = output.get("parameters") if isinstance(output, dict) else None
        if isinstance(parameters, dict) and "classification" in parameters:
            raise UnknownFormat("`outputs` asks for a classification, which is text; ask for the tensor itself")
        if isinstance(parameters, dict) and "shared_memory_region" in parameters:
            raise UnknownFormat("`outputs` asks for a tensor in shared memory; ask for it in the answer")


def _with_rows(tensor: _json.Fields, answer: Answer, released: dict[str, Rows], parts: Parts) -> _json.Fields:
    name = _oip_outputs.text(tensor, "name")
    if name not in released or name in parts.binary:
        return tensor
    values = answer.outputs[name].restored(released[name])
    is_nested = bytes(tensor["data"]).lstrip()[1:].lstrip().startswith(b"[")
    return {**tensor, "data": _json.raw(values if is_nested else values.reshape(-1))}
