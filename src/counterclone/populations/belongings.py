"""What else is known of accounts: addresses, payments, programs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterclone.populations.population import Meta
from counterclone.randomness import Generator

_AGENTS = (
    "python-requests/2.32", "python-httpx/0.27", "openai-python/1.50", "curl/8.9", "okhttp/4.12", "axios/1.7",
    "Go-http-client/2.0", "Java-http-client/21", "node-fetch/3", "aiohttp/3.10", "PostmanRuntime/7.41", "ruby/3.3")
_N_NETWORKS = 200


def names(n: int, rng: Generator) -> list[str]:
    """Names as a journal has them: 16 hexadecimal digits, which tell nothing."""
    return [f"{number:016x}" for number in rng.integers(0, 1 << 64, n, dtype=np.uint64).tolist()]


def of_people(n: int, rng: Generator, *, shared: float = 0.03) -> list[Meta]:
    """An address, a payment, a program and a network of each; a few share theirs with another.

    Args:
        n: how many.
        rng: draws them.
        shared: the share of accounts whose address is somebody else's too; of payments it is a third.
    """
    addresses = _with_sharing(_addresses(n, rng), shared, rng)
    payments = _with_sharing(_payments(n, rng), shared / 3.0, rng)
    agents = rng.choice(len(_AGENTS), n, p=_zipf(len(_AGENTS), 1.2))
    networks = rng.choice(_N_NETWORKS, n, p=_zipf(_N_NETWORKS, 1.0))
    return [_meta(*each) for each in zip(addresses, payments, agents.tolist(), networks.tolist(), strict=True)]


def behind_one_address(metas: list[Meta], groups: NDArray[np.intp]) -> list[Meta]:
    """Each with the address, program and network of its group's first."""
    first: dict[int, Meta] = {}
    for group, meta in zip(groups.tolist(), metas, strict=True):
        first.setdefault(group, meta)
    return [{**meta, **{key: first[group][key] for key in ("ip", "user_agent", "asn")}}
            for group, meta in zip(groups.tolist(), metas, strict=True)]


def of_campaign(n: int, rng: Generator, *, accounts_per_ip: int, accounts_per_payment: int) -> list[Meta]:
    """Rented addresses and cards: so many accounts share each; networks and programs as people have them."""
    addresses = _addresses(-(-n // accounts_per_ip), rng)
    payments = _payments(-(-n // accounts_per_payment), rng)
    agents = rng.choice(len(_AGENTS), n, p=_zipf(len(_AGENTS), 1.2)).tolist()
    networks = rng.choice(_N_NETWORKS, n, p=_zipf(_N_NETWORKS, 1.0)).tolist()
    return [_meta(addresses[i // accounts_per_ip], payments[i // accounts_per_payment], agents[i], networks[i])
            for i in range(n)]


def _meta(address: str, payment: str, agent: int, network: int) -> Meta:
    return {"ip": address, "payment": payment, "user_agent": _AGENTS[agent], "asn": f"AS{64512 + network}"}


def _addresses(n: int, rng: Generator) -> list[str]:
    return [f"10.{a}.{b}.{c}" for a, b, c in rng.integers(1, 255, (n, 3)).tolist()]


def _payments(n: int, rng: Generator) -> list[str]:
    return [f"card-{number:015x}" for number in rng.integers(0, 1 << 60, n).tolist()]


def _with_sharing(values: list[str], share: float, rng: Generator) -> list[str]:
    n = len(values)
    found = list(values)
    for place in np.flatnonzero(rng.random(n) < share).tolist():
        found[place] = values[int(rng.integers(n))]
    return found


def _zipf(n: int, power: float) -> NDArray[np.float64]:
    weights = 1.0 / np.arange(1, n + 1) ** power
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares
