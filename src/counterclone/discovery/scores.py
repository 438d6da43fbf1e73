"""Where an answer holds its scores, as the guard itself will find them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import orjson

from counterclone import plugins
from counterclone.answers import Answer, Output
from counterclone.discovery.apis import fields, items
from counterclone.discovery.site import Page
from counterclone.discovery.text import listed, shown
from counterclone.errors import AnswerError, UnknownFormat
from counterclone.protocols import Body, Dialect

MOST_NAMES = 32
_UNREADABLE = ("The answer holds floating-point numbers that are no rows of probabilities (logits, or a "
               "regression): the guard blocks such answers. Have the model answer with probabilities, or name "
               "their output in [target] scores.")


class Scores(NamedTuple):
    """What an answer shows.

    Attributes:
        name: the one output with probabilities, "" where there are none or several.
        classes: how many, None where none were seen.
        about: what was found, in sentences.
        warnings: what the owner must know, likewise.
    """

    name: str = ""
    classes: int | None = None
    about: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(kind: str, query: bytes, page: Page) -> Scores:
    """Read the answer to a query with a dialect."""
    dialect = cast(Dialect, plugins.build("dialects", {"kind": kind}, "dialect"))
    if not 200 <= page.status < 300:
        said = f": {shown(page.content.decode(errors='replace'))}" if page.content else ""
        status = f"was answered {page.status}" if page.status else "wasn't answered"
        return Scores(about=(f"A test query {status}{said}. Its scores are looked for in each answer instead.",))
    if not page.content or not dialect.can_read(page.headers):
        return Scores(about=("A test query was answered with something else than JSON.",))
    try:
        n_rows = dialect.read_query(Body(query), "").n_rows
    except UnknownFormat as error:
        return Scores(about=(f"The guard can't read the API's own example: {shown(error)}.",))
    try:
        answer = dialect.read_answer(page.body, n_rows, "")
    except AnswerError as error:
        return _without_one(dialect, page, n_rows, error)
    if answer.outputs:
        return _found(answer.outputs)
    return _named(dialect, page, n_rows, answer)


def _found(outputs: dict[str, Output]) -> Scores:
    """Probabilities that are plain to see."""
    classes = next(iter(outputs.values())).rows.shape[1]
    if len(outputs) > 1:
        return Scores(classes=classes, about=(f"Several outputs hold probabilities: {listed(outputs)}; all are "
                                              "guarded.",))
    name, = outputs
    where = f" in '{shown(name)}'" if name else ""
    return Scores(name, classes, (f"Its answer holds the probabilities of {classes} classes{where}.",))


def _named(dialect: Dialect, page: Page, n_rows: int, answer: Answer) -> Scores:
    """Probabilities that are found by name only: rounded ones, or one number a row."""
    if answer.is_scanned:
        return Scores(about=("Its answer holds no scores, only labels or text.",))
    for name in _names(page.document):
        try:
            outputs = dialect.read_answer(page.body, n_rows, name).outputs
        except AnswerError:
            continue
        name, output = next(iter(outputs.items()))  # noqa: PLW2901 (the full name of a row's field)
        values = output.restored(output.rows)
        if values.size > n_rows:
            return Scores(name, output.rows.shape[1], (f"'{shown(name)}' holds nearly probabilities.",))
        if ((values > 0.0) & (values < 1.0)).all():
            return Scores(name, 2, (f"'{shown(name)}' holds one number a row from 0 to 1, taken for the "
                                    "probability of the positive class. If it is something else, set scores = "
                                    "\"\".",))
    return Scores(warnings=(_UNREADABLE,))


def _without_one(dialect: Dialect, page: Page, n_rows: int, error: AnswerError) -> Scores:
    """Probabilities beside an output that tells what they were, which the guard doesn't let pass."""
    warning = f"The guard blocks the model's answers as they are: {shown(error)}."
    for content in _parts(page.document):
        try:
            answer = dialect.read_answer(page.body._replace(content=content), n_rows, "")
        except AnswerError:
            continue
        if answer.outputs:
            found = _found(answer.outputs)
            return found._replace(warnings=(warning,))
    return Scores(warnings=(warning,))


def _names(document: Any) -> list[str]:
    """What the outputs of an answer may be called: tensors by name, fields, and the fields of rows."""
    names = [name for tensor in items(fields(document).get("outputs")) if (name := fields(tensor).get("name"))]
    for name, value in fields(document).items():
        row = next(iter(items(value)), value)
        names += [name, *fields(row)]
    return [name for name in names if isinstance(name, str)][:MOST_NAMES]


def _parts(document: Any) -> Iterator[bytes]:
    """The answer with one of its outputs left out, each in turn."""
    if tensors := items(fields(document).get("outputs")):
        for i in range(min(len(tensors), MOST_NAMES)):
            yield orjson.dumps({**document, "outputs": tensors[:i] + tensors[i + 1:]})
    else:
        for left_out in list(fields(document))[:MOST_NAMES]:
            yield orjson.dumps({name: value for name, value in document.items() if name != left_out})
