"""The file that is written: settings that a newcomer can read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from string import Template
from urllib.parse import urlsplit

import tomli_w

from counterclone.answers import full_bits
from counterclone.discovery.apis import Api
from counterclone.discovery.scores import Scores
from counterclone.discovery.text import printable
from counterclone.policies.rounding import Rounding

WIDTH = 100
DECIMALS = 2
DEFAULT_PORTS = {"http": 80, "https": 443}
TEMPLATE = Template("""\
# The guard of one model server, written by `counterclone init`. `counterclone check` validates it
# and prints every setting there is, `counterclone guard` runs it.
#
$found

[target]
# Where the model server answers. Who reaches it here isn't guarded: let nobody but the guard do so.
url = $url
# Its wire format: "oip", "predict", or "auto" to find it from each request.
dialect = $dialect
# The output that holds the probabilities. "" takes every output whose rows are non-negative and sum
# to 1.
scores = $scores

[accounts]
# Who is calling: the bearer key of a request names its account. "open" takes any key, so one caller
# can be many accounts; "listed" takes only keys that `counterclone keys create` made.
api_keys = "open"

[guard]
# Where callers come to, instead of to the model server. 127.0.0.1 lets in only this machine;
# 0.0.0.0 lets in all.
listen = "127.0.0.1:$listen"
# Where health and metrics are, for you alone.
admin = "127.0.0.1:$admin"
# How many rows an account may ask in a minute; 0 for no limit.
limit_queries_per_minute = 600
# The paths that are guarded, as shell patterns. What is posted there and can't be read is blocked;
# all other paths pass untouched.
paths = $paths
# Shadow mode comes first: the guard then decides, counts and journals, and changes nothing. Take
# the `#` off, run it so for some days, look at `counterclone watch`, and put it back.
# enforce = false

# What leaves: $decimals decimals of each probability; they still sum to 1 and serve the same label.
# ${saving}`counterclone list policies` shows what else there is.
[[guard.policy]]
kind = "rounding"
decimals = $decimals

[journal]
# Who asked what and when, as keyed hashes; `counterclone watch` reads it. "" keeps none.
path = "journal"
""")


def text(api: Api, scores: Scores, tried: Sequence[str]) -> str:
    """The configuration of a guard before an API.

    Args:
        api: what the server speaks.
        scores: what its answer showed.
        tried: the requests that were sent, which are told where the format isn't known.
    """
    listen, admin = _ports(api)
    return TEMPLATE.substitute(
        found="\n#\n".join(map(_comment, _findings(api, scores, tried))),
        url=_toml(api.url), dialect=_toml(api.dialect), scores=_toml(scores.name if api.is_alone else ""),
        paths=f"[{', '.join(map(_toml, api.paths))}]", listen=listen, admin=admin, decimals=DECIMALS,
        saving=_saving(scores.classes))


def _findings(api: Api, scores: Scores, tried: Sequence[str]) -> list[str]:
    """Paragraphs on what was found, the warnings last."""
    server = api.server or "a server that doesn't say what it is"
    found = [" ".join([f"Found: {server}.", *api.about, *scores.about])]
    if api.dialect == "auto":
        found.append(f"Tried: {', '.join(tried)}.")
    return found + [f"WARNING: {warning}" for warning in (*api.warnings, *scores.warnings)]


def _comment(paragraph: str) -> str:
    return textwrap.fill(printable(paragraph), WIDTH, initial_indent="# ", subsequent_indent="# ",
                         break_long_words=False, break_on_hyphens=False)


def _toml(value: str) -> str:
    return tomli_w.dumps({"": value}).partition(" = ")[2].strip()


def _ports(api: Api) -> tuple[int, int]:
    """Two ports in a row that the model server and its other services leave free."""
    parts = urlsplit(api.url)
    taken = {parts.port or DEFAULT_PORTS[parts.scheme], *api.ports}
    first = next(port for port in range(8000, 9000, 100) if not taken & {port, port + 1})
    return first, first + 1


def _saving(classes: int | None) -> str:
    """What the policy saves, once the number of classes is known."""
    if classes is None:
        return ""
    left = Rounding(decimals=DECIMALS).bits(classes)
    return f"An answer then holds at most {left:.0f} bits instead of {full_bits(classes):.0f}.\n# "
