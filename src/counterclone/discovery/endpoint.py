"""The address itself, where nothing says what it speaks."""

from __future__ import annotations

import glob
from urllib.parse import unquote

import orjson

from counterclone.discovery.apis import Address, Api, Ask
from counterclone.discovery.site import Page
from counterclone.discovery.text import shown

_POST_ONLY = (405, 501)
_NOT_THERE = (0, 404, *_POST_ONLY)
_UNKNOWN = ("Its format isn't known, so dialect is \"auto\": each request is looked at, and what no dialect reads "
            "is blocked.")


def guess(address: Address, first: Page) -> Api:
    """`predict`, to be asked a row of one zero, where the address may be an endpoint."""
    asks = bool(address.path) or first.status in _POST_ONLY
    return Api(dialect="predict", url=address.origin, server=shown(first.header(b"server")),
               paths=(glob.escape(unquote(address.path or "/")),),
               ask=Ask(address.url, orjson.dumps({"instances": [[0.0]]})) if asks else None)


def unknown(api: Api, address: Address, first: Page, answer: Page) -> Api:
    """What to write where the guess told nothing; an endpoint is one if it takes a POST at all."""
    is_endpoint = answer.status not in _NOT_THERE
    about = []
    if 300 <= first.status < 400:
        about.append(f"It redirects to '{shown(first.header(b'location'))}', which wasn't followed; if the model "
                     "is there, name that address.")
    if 401 in (first.status, answer.status) or 403 in (first.status, answer.status):
        about.append("It asks for a key, and was probed without one.")
    return api._replace(dialect="auto", url=api.url if is_endpoint else address.url,
                        paths=api.paths if is_endpoint else ("*",), about=tuple(about), warnings=(_UNKNOWN,))
