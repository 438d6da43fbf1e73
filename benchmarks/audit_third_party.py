"""Audits of models that others trained and packaged: fidelity beside majority, control and balanced agreement.

- `magika` (Google): the type of a file from its first and last kilobyte. Asked as text, a byte a character, by who
  has the files of this machine; their own labels are what the files' suffixes say.
- `py3langid`: the language of a text. Asked with passages of this machine's manual pages; their own labels are the
  languages of their folders.
- `alt-profanity-check`: whether a text is offensive. Asked with texts made of its own words, as no package brings
  real ones; what little is offensive in them is what the balanced figure is for.
"""

from __future__ import annotations

import gzip
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import results
from counterclone import audit
from counterclone.demo.filetypes import FileTypes
from counterclone.randomness import generator
from counterclone.targets.local import Predict

BUDGETS = ((100, 1000), 3), ((10_000,), 1)
"""Numbers of queries, and the seeds that are tried with them."""
N_POOL, N_EVALUATE = 10_000, 1000
MOST_OF_A_KIND = 1200
LEAST_PASSAGES = 200
MANUALS = Path("/usr/share/man")
FILES = [Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")), Path("/usr/share"),
         Path("/usr/include")]


class Victim(NamedTuple):
    """A model, and texts with their own labels, -1 or none where nobody knows them."""

    predict: Predict
    texts: list[str]
    labels: NDArray[np.intp] | None


def run() -> results.Result:
    return results.Result("audit_third_party", [
        row for name, victim in VICTIMS.items() for row in audited(name, victim())])


def audited(name: str, victim: Victim) -> Iterator[dict[str, object]]:
    order = generator(0, "texts").permutation(len(victim.texts))[:N_POOL + N_EVALUATE]
    held_out, pooled = order[:N_EVALUATE], order[N_EVALUATE:]
    pool, evaluate = ([victim.texts[place] for place in places] for places in (pooled, held_out))
    remembered = Remembered(victim.predict)
    for budgets, seeds in BUDGETS:
        sizes = [min(budget, len(pool)) for budget in budgets]
        found = audit.run(
            remembered, budgets=sizes, seeds=seeds, attacks=["knockoff"], surfaces=["labels"], seconds=600.0,
            pool=(pool, None if victim.labels is None else victim.labels[pooled]),
            evaluate=(evaluate, None if victim.labels is None else victim.labels[held_out]))
        for point in found.points:
            yield {"model": name, "classes": remembered.classes, "shows": point.surface, "queries": point.budget,
                   "seeds": seeds, "fidelity": round(point.fidelity, 4), "least": round(point.low, 4),
                   "balanced": round(point.balanced, 4), "majority": round(found.majority, 4),
                   "control": found.control.student, "control_fidelity": round(found.control.fidelity, 4)}


class Remembered:
    """A model that is asked each text once: its answers are what they were."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._known: dict[str, NDArray[np.float64]] = {}

    @property
    def classes(self) -> int:
        return len(next(iter(self._known.values())))

    def __call__(self, texts: list[str]) -> NDArray[np.float64]:
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, np.asarray(self._predict(new), dtype=np.float64), strict=True))
        return np.stack([self._known[text] for text in texts])


# Models and texts

def magika() -> Victim:
    model = FileTypes()
    session, known = model.session(), list(model.settings.target_labels_space)
    suffixes = suffix_labels(known)
    texts: dict[str, int] = {}
    counts: dict[str, int] = {}
    for path in files():
        label = suffixes.get(path.suffix.lstrip(".").lower())
        if label is None or counts.get(path.suffix, 0) >= MOST_OF_A_KIND:
            continue
        try:
            content = path.read_bytes()
        except OSError:
            continue
        text = content[:model.settings.beg_size] + content[-model.settings.end_size:]
        if model.tokens(text) is not None:
            texts[text.decode("latin-1")] = label
            counts[path.suffix] = counts.get(path.suffix, 0) + 1

    def predict(batch: list[str]) -> NDArray[np.float64]:
        tokens = [model.tokens(text.encode("latin-1")) for text in batch]
        blank = np.full(model.settings.beg_size + model.settings.end_size, model.settings.padding_token, np.int32)
        asked = np.stack([blank if row is None else row for row in tokens])
        parts = [session.run(["target_label"], {"bytes": asked[start:start + 32]})[0]
                 for start in range(0, len(asked), 32)]
        return normalised(np.concatenate(parts))

    return Victim(predict, list(texts), np.array(list(texts.values())))


def suffix_labels(known: list[str]) -> dict[str, int]:
    """The label that the package itself lists each suffix under, where it is only one that the model knows."""
    import magika as package

    content = (Path(package.__file__).parent / "config" / "content_types_kb.min.json").read_bytes()
    found: dict[str, list[str]] = {}
    for label, kind in msgspec.json.decode(content).items():
        for suffix in kind["extensions"] if label in known else ():
            found.setdefault(suffix, []).append(label)
    return {suffix: known.index(labels[0]) for suffix, labels in found.items() if len(labels) == 1}


def files() -> Iterator[Path]:
    for folder in FILES:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


def py3langid() -> Victim:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    names = sorted(model.labels)
    texts: dict[str, int] = {}
    for folder in sorted(path for path in MANUALS.iterdir() if path.is_dir()):
        language = "en" if folder.name.startswith("man") else folder.name.split("_")[0]
        found = list(passages(folder))
        if language in names and len(found) >= LEAST_PASSAGES:
            texts |= dict.fromkeys(found[:MOST_OF_A_KIND], names.index(language))

    def predict(batch: list[str]) -> NDArray[np.float64]:
        ranked = [dict(model.rank(text)) for text in batch]
        return normalised(np.array([[row[name] for name in names] for row in ranked]))

    return Victim(predict, list(texts), np.array(list(texts.values())))


def passages(folder: Path) -> Iterator[str]:
    """Lines of the manual pages in a folder, without their commands, the longer ones."""
    for path in sorted(folder.rglob("*.gz"))[:400]:
        page = gzip.decompress(path.read_bytes()).decode(errors="replace")
        for line in page.splitlines():
            text = re.sub(r"\\f.|\\\(..|\\.", "", line).strip()
            if len(text) >= 30 and not line.startswith((".", "'")):
                yield text[:200]


def profanity() -> Victim:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was pickled by an older scikit-learn
        from profanity_check import profanity_check as package
    words = sorted(package.vectorizer.vocabulary_)
    rng = generator(0, "words")
    texts = [" ".join(words[i] for i in rng.integers(0, len(words), rng.integers(1, 8)))
             for _ in range(N_POOL + N_EVALUATE)]

    def predict(batch: list[str]) -> NDArray[np.float64]:
        scores: Any = np.asarray(package.predict_prob(batch))
        return np.column_stack([1.0 - scores, scores])

    return Victim(predict, list(dict.fromkeys(texts)), None)


def normalised(rows: NDArray[Any]) -> NDArray[np.float64]:
    wide = rows.astype(np.float64)
    shares: NDArray[np.float64] = wide / wide.sum(axis=1, keepdims=True)
    return shares


VICTIMS: dict[str, Callable[[], Victim]] = {
    "magika": magika, "py3langid": py3langid, "alt-profanity-check": profanity}


if __name__ == "__main__":
    results.show(run())
