"""MLflow's scoring server, which tells its version and takes queries in one place."""

from __future__ import annotations

import re

import orjson

from counterclone.discovery.apis import Address, Api, Ask
from counterclone.discovery.site import Page, Site

_VERSION = re.compile(rb"\s*\"?(\d+\.\d+[\w.+-]{0,32})\"?\s*")


async def find(site: Site, address: Address, first: Page) -> Api | None:
    """The server, if it answers /ping and /version as MLflow does."""
    base = address.origin + re.sub(r"/(invocations|ping|version|health)$", "", address.path)
    if (await site.get(f"{base}/ping")).status != 200:
        return None
    version = await site.get(f"{base}/version")
    found = _VERSION.fullmatch(version.content)
    if version.status != 200 or not found:
        return None
    return Api(dialect="predict", url=base, server=f"MLflow {found[1].decode()}",
               ask=Ask(f"{base}/invocations", orjson.dumps({"instances": [[0.0]]})),
               about=("Queries go to /invocations; its inputs aren't declared.",))
