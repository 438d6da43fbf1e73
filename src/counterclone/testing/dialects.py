"""The laws of wire formats, tried on one recorded request and its answer, and on damaged ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from counterclone.answers import Answer, Rows, label_list, top_labels
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.protocols import Body, Dialect
from counterclone.queries import Features, Query
from counterclone.speech import Logprobs, Speech
from counterclone.testing.laws import check_spec, demand

MODEL = "m"
SINGLE = 1e-6
"""Formats with 32-bit floats bring rows back this exactly."""
GARBAGE = (b"", b"garbage", b"\x00", b"\xff\xfe\xfd", b"[" * 20_000, b'{"a":' * 20_000)
FOREIGN = b'["\\u0041",true, null]'
"""The value of a field that no format has, in bytes that writing it anew would change."""
STRANGE: tuple[object, ...] = (
    None, True, -1, 10**30, 1e308, "x", [], {}, [None], [[]], [{}], [[1.0], [1.0, 2.0]])
MESSAGE = 'a "quoted" word, a line\nand \u00fcml\u00e4uts'
N_CUTS = 60


def check_dialect(dialect: Dialect, *, request: Body, answer: Body, n_rows: int) -> None:
    """Try every law of a wire format.

    Args:
        dialect: the format.
        request: the body of a request, and the headers that say how to read it.
        answer: that of its answer, with probabilities, or with what a language model or an encoder says.
        n_rows: the rows of the request.

    Raises:
        AssertionError: a law is broken; the message names it.
    """
    check_spec("dialects", dialect)
    error_event = getattr(dialect, "error_event", "missing")
    demand(error_event is None or isinstance(error_event, bytes), dialect, "a format says whether it has streams",
           f"`error_event` is {error_event!r}")
    _check_model(dialect)
    _check_query(dialect, request, n_rows)
    _check_damaged(dialect, "a request", request, partial(_use_request, dialect), UnknownFormat)
    _check_answer(dialect, answer, n_rows)
    for scores in ("", *dialect.read_answer(answer, n_rows, "").outputs):
        use = partial(_use_answer, dialect, n_rows, scores)
        _check_damaged(dialect, "an answer", answer, use, AnswerError)
    _check_labels(dialect, answer, n_rows)
    _check_errors(dialect)


def _check_labels(dialect: Dialect, answer: Body, n_rows: int) -> None:
    rows = dialect.read_answer(answer, n_rows, "").rows
    if rows is None:
        return
    truths = label_list(rows)
    followed = dialect.relabelled(answer, truths, [(label + 1) % rows.shape[1] for label in truths])
    if followed is not None:
        written = Body(followed.content, {**answer.headers, **followed.headers})
        after = dialect.read_answer(written, n_rows, "").rows
        demand(after is not None and np.array_equal(after, rows), dialect,
               "labels that follow leave the rows as they are", f"{rows.tolist()} became {after}")


def _check_model(dialect: Dialect) -> None:
    for method in ("POST", "GET", "", "post"):
        for path in ("/", "", "/a/b", "//", "/v1/models/m:predict", "/\u00fc/" + "a" * 5000):
            named = dialect.model(method, path)
            demand(named is None or isinstance(named, str), dialect, "model() is a name or None",
                   f"{method} {path[:40]} gave {named!r}")


def _check_query(dialect: Dialect, request: Body, n_rows: int) -> None:
    query = dialect.read_query(request, MODEL)
    demand(query.n_rows == n_rows, dialect, "a request has as many rows as it says",
           f"{query.n_rows} were read, expected {n_rows}")
    if query.features is None:
        _check_sampling(dialect, request, query)
        return
    for features in (query.features, query.features[::-1].copy()):
        written = _written(request, dialect.write_query(request, query.with_features(features)))
        _demand_features(dialect, written, features)
    foreign = _with_foreign_field(request)
    written = dialect.write_query(foreign, query)
    demand(foreign == request or FOREIGN in written.content, dialect, "what isn't edited stays byte for byte",
           "a request's field of another's was written anew")


def _check_sampling(dialect: Dialect, request: Body, query: Query) -> None:
    """What a rule may take out of a request for a language model."""
    if query.sampling is None:
        return
    foreign = _with_foreign_field(request)
    for changed in (query.sampling, replace(query.sampling, logprobs=None), replace(query.sampling, bias={}),
                    replace(query.sampling, logprobs=None, bias={})):
        written = _written(foreign, dialect.write_query(foreign, query.with_sampling(changed)))
        back = dialect.read_query(written, MODEL)
        demand(back.sampling == changed and back.cells == query.cells, dialect,
               "a query reads back as it was written", f"{changed} came back as {back.sampling}")
        demand(FOREIGN in written.content, dialect, "what isn't edited stays byte for byte",
               "a request's field of another's was written anew")


def _demand_features(dialect: Dialect, body: Body, features: Features) -> None:
    back = dialect.read_query(body, MODEL).features
    demand(back is not None and np.array_equal(back, features, equal_nan=True), dialect,
           "a query reads back as it was written", f"{_short(features)} came back as {_short(back)}")


def _check_answer(dialect: Dialect, body: Body, n_rows: int) -> None:
    demand(dialect.can_read(body.headers), dialect, "an answer's headers announce it",
           f"can_read() is false for {dict(body.headers)}")
    answer = dialect.read_answer(body, n_rows, "")
    if answer.speech is not None:
        _check_speech(dialect, body, n_rows, answer.speech)
        return
    demand(bool(answer.outputs), dialect, "an answer's probabilities are found", "none were in the example")
    for name, output in answer.outputs.items():
        demand(len(output.rows) == n_rows * output.rows_per_query, dialect,
               "an answer has rows for each query", f"output '{name}' has {len(output.rows)} for {n_rows}")
        _check_edits(dialect, body, n_rows, name)
    foreign = _with_foreign_field(body)
    answer = dialect.read_answer(foreign, n_rows, "")
    written = dialect.write_answer(answer, {name: output.rows for name, output in answer.outputs.items()})
    demand(foreign == body or FOREIGN in written.content, dialect, "what isn't edited stays byte for byte",
           "an answer's field of another's was written anew")


def _check_speech(dialect: Dialect, body: Body, n_rows: int, speech: Speech) -> None:
    """What a language model or an encoder says, as it is and as policies may make it."""
    demand(bool(speech.said) or speech.vectors is not None, dialect, "an answer's texts or vectors are found",
           "none were in the example")
    same = dialect.write_answer(dialect.read_answer(body, n_rows, ""), {})
    demand(same.content == body.content, dialect, "what isn't edited stays byte for byte",
           "an answer that nobody edited was written anew")
    foreign = _with_foreign_field(body)
    for changed in _spoken(speech):
        answer = dialect.read_answer(foreign, n_rows, "").with_speech(changed)
        written = _written(foreign, dialect.write_answer(answer, {}))
        demand(foreign == body or FOREIGN in written.content, dialect, "what isn't edited stays byte for byte",
               "an answer's field of another's was written anew")
        _demand_speech(dialect, dialect.read_answer(written, n_rows, "").speech, changed)


def _spoken(speech: Speech) -> Iterator[Speech]:
    """A speech with other texts, with fewer and with other log-probabilities, and with other vectors."""
    yield speech._replace(said=[each._replace(text=f"{each.text} \u00fc\n\"") for each in speech.said])
    yield speech._replace(said=[each._replace(text="") for each in speech.said])
    yield speech._replace(logprobs=None, hides=False)
    if (told := speech.logprobs) is not None:
        yield speech._replace(logprobs=Logprobs(told.chosen - 1.0, told.top - 1.0))
        yield speech._replace(logprobs=Logprobs(told.chosen, np.full_like(told.top, np.nan)))
    if speech.vectors is not None:
        yield speech._replace(vectors=speech.vectors[:, ::2] / 2.0)


def _demand_speech(dialect: Dialect, back: Speech | None, written: Speech) -> None:
    law = "an answer reads back as it was written"
    demand(back is not None, dialect, law, "it says nothing any more")
    assert back is not None
    texts, expected = ([each.text for each in speech.said] for speech in (back, written))
    demand(texts == expected, dialect, law, f"{expected} came back as {texts}")
    for name, now, before in (("vectors", back.vectors, written.vectors),
                              ("log-probabilities", _numbers(back), _numbers(written))):
        is_same = now is before if now is None or before is None else (
            now.shape == before.shape and np.allclose(now, before, atol=SINGLE))
        demand(is_same, dialect, law, f"{name} {before} came back as {now}")


def _numbers(speech: Speech) -> Rows | None:
    """All log-probabilities that are told, in their order."""
    told = speech.logprobs
    if told is None:
        return None
    numbers = np.concatenate([told.chosen[:, None], told.top], axis=1).ravel()
    return np.asarray(numbers[~np.isnan(numbers)])


def _check_edits(dialect: Dialect, body: Body, n_rows: int, name: str) -> None:
    rows = dialect.read_answer(body, n_rows, "").outputs[name].rows
    one_hot = np.eye(rows.shape[1])[top_labels(rows)]
    for released in (rows, np.roll(rows, 1, axis=1), one_hot):
        answer = dialect.read_answer(body, n_rows, "")
        given = released.copy()
        written = _written(body, dialect.write_answer(answer, {name: given}))
        demand(given.tobytes() == released.tobytes(), dialect, "released rows aren't changed in place",
               f"those of '{name}' were")
        _demand_rows(dialect, dialect.read_answer(written, n_rows, name), name, released)


def _demand_rows(dialect: Dialect, answer: Answer, name: str, released: Rows) -> None:
    output = answer.outputs.get(name)
    demand(output is not None and output.rows.shape == released.shape
           and np.allclose(output.rows, released, rtol=0.0, atol=SINGLE), dialect,
           "an answer reads back as it was written",
           f"'{name}' {_short(released)} came back as {_short(None if output is None else output.rows)}")


def _check_damaged(dialect: Dialect, what: str, whole: Body, use: Callable[[Body], None],
                   error: type[Exception]) -> None:
    for damaged in (*GARBAGE, *_truncated(whole.content), b"\xff\xfe" + whole.content):
        outcome = _outcome(use, whole._replace(content=damaged))
        demand(type(outcome) is error, dialect, f"{what} that isn't one raises {error.__name__}",
               f"{damaged[:60]!r} (cut to {len(damaged)} bytes) gave {outcome!r}")
    for strange in (*_misencoded(whole), *_altered(whole), *_overwritten(whole)):
        outcome = _outcome(use, strange)
        demand(outcome is None or type(outcome) is error, dialect,
               f"{what} with strange values is read, or raises {error.__name__}",
               f"{strange.content[:400]!r} gave {outcome!r}")


def _use_request(dialect: Dialect, body: Body) -> None:
    query: Query = dialect.read_query(body, MODEL)
    demand(query.n_rows > 0, dialect, "a request has rows", f"{body.content[:400]!r} was read with none")
    demand(len(query.cells) == query.n_rows, dialect, "every row has a canonical form",
           f"{body.content[:400]!r} has {len(query.cells)} for {query.n_rows} rows")
    if query.features is not None:
        _demand_features(dialect, _written(body, dialect.write_query(body, query)), query.features)


def _use_answer(dialect: Dialect, n_rows: int, scores: str, body: Body) -> None:
    answer = dialect.read_answer(body, n_rows, scores)
    for changed in _spoken(answer.speech) if answer.speech is not None else ():
        again = dialect.read_answer(body, n_rows, scores).with_speech(changed)
        dialect.read_answer(_written(body, dialect.write_answer(again, {})), n_rows, scores)
    for name, output in answer.outputs.items():
        written = _written(body, dialect.write_answer(answer, {name: output.rows}))
        _demand_rows(dialect, dialect.read_answer(written, n_rows, name), name, output.rows)


def _outcome(use: Callable[[Body], None], body: Body) -> Exception | None:
    try:
        use(body)
    except AssertionError:
        raise
    except Exception as error:  # its kind is the question
        return error
    return None


def _truncated(body: bytes) -> Iterator[bytes]:
    body = body.rstrip()
    return (body[:cut] for cut in range(1, len(body), max(1, len(body) // N_CUTS)))


def _misencoded(body: Body) -> Iterator[Body]:
    """The body with a byte that is no UTF-8 at the start of each string or name."""
    head, tail, header = _parted(body)
    pieces = head.split(b'"')
    return (_joined(body, b'"'.join([*pieces[:i], b"\xff" + pieces[i], *pieces[i + 1:]]), tail, header)
            for i in range(1, len(pieces)))


def _altered(body: Body) -> Iterator[Body]:
    """The body, where it is JSON, with one value after another left out or replaced by a strange one."""
    head, tail, header = _parted(body)
    try:
        document = msgspec.json.decode(head)
    except msgspec.DecodeError:
        return
    for path in _paths(document):
        for strange in STRANGE:
            yield _joined(body, msgspec.json.encode(_replaced(document, path, strange)), tail, header)
        yield _joined(body, msgspec.json.encode(_without(document, path)), tail, header)


def _overwritten(body: Body) -> Iterator[Body]:
    """The body with other bytes behind its JSON."""
    head, tail, header = _parted(body)
    if tail:
        yield from (_joined(body, head, byte * len(tail), header) for byte in (b"\x00", b"\x7f", b"\xff"))


def _parted(body: Body) -> tuple[bytes, bytes, bytes]:
    """A body's JSON, what follows it, and the header that says how long the JSON is: "" where nothing follows."""
    for name, value in body.headers.items():
        if value.isdigit() and 0 < int(value) < len(body.content):
            return body.content[:int(value)], body.content[int(value):], name
    return body.content, b"", b""


def _joined(body: Body, head: bytes, tail: bytes, header: bytes) -> Body:
    """The body with another JSON."""
    return Body(head + tail, {**body.headers, header: b"%d" % len(head)} if header else body.headers)


def _paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    """The way to every value below, the first two of each list."""
    for key, inner in _items(value):
        yield (key,)
        yield from ((key, *path) for path in _paths(inner))


def _items(value: Any) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value[:2]) if isinstance(value, list) else ()


def _replaced(document: Any, path: tuple[str | int, ...], value: Any) -> Any:
    changed, parent = _copied(document, path)
    parent[path[-1]] = value
    return changed


def _without(document: Any, path: tuple[str | int, ...]) -> Any:
    changed, parent = _copied(document, path)
    del parent[path[-1]]
    return changed


def _copied(document: Any, path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """A copy of the document, and what holds the last step of the path in it."""
    changed = parent = copy.deepcopy(document)
    for key in path[:-1]:
        parent = parent[key]
    return changed, parent


def _written(original: Body, written: Body) -> Body:
    """What was written, with the headers that it then has."""
    return Body(written.content, {**original.headers, **written.headers})


def _with_foreign_field(body: Body) -> Body:
    """The body with a field of somebody else's, where it is a JSON object that isn't empty."""
    head, tail, header = _parted(body)
    try:
        document = msgspec.json.decode(head)
    except msgspec.DecodeError:
        return body
    if not isinstance(document, dict) or not document:
        return body
    return _joined(body, b'{"counterclone_check": ' + FOREIGN + b"," + head.lstrip()[1:], tail, header)


def _check_errors(dialect: Dialect) -> None:
    law = "an error is JSON that holds the message"
    for status, code in ((400, "query_refused"), (429, "rate_limit_exceeded"), (502, "answer_not_cleaned")):
        body = dialect.error(status, code, MESSAGE)
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise AssertionError(f"{dialect!r} breaks the law '{law}': {body!r} ({error})") from None
        demand(MESSAGE in _texts(document), dialect, law, f"{body!r}")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts(item)]


def _short(array: Rows | None) -> str:
    return "nothing" if array is None else np.array2string(array, threshold=6)
