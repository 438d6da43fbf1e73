"""The verb that serves."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from counterclone import config
from counterclone.cli._common import common, print_json
from counterclone.errors import ConfigError

MAX_WORKERS = 64


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Where callers come to [[guard] listen].")
@click.option("--admin", metavar="HOST:PORT", help="Where health and metrics are, for you alone [[guard] admin].")
@click.option("--workers", type=click.IntRange(1, MAX_WORKERS), default=1, show_default=True, metavar="N",
              help="Processes; each after the first has its health and metrics at the next port.")
@click.option("--supervised", is_flag=True, hidden=True, help="Stop with the process that started this one.")
@common
def guard(*, listen: str | None, admin: str | None, workers: int, supervised: bool, config_file: str | None,
          as_json: bool, seed: int) -> None:
    """Run the gateway: the guard before the model server that [target] url names."""
    import prometheus_client

    try:
        from counterclone.compose.gateway import gateway, gateways
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} isn't installed; `pip install 'counterclone[gateway]'`") from None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    path = config.find(config_file)
    if workers > 1:
        with gateways(path, workers, public=listen, private=admin) as supervisor:
            found = supervisor.start()
            _tell_addresses({**found[0], "admin": [each["admin"] for each in found]}, as_json=as_json)
            supervisor.run()
        return
    with gateway(path, public=listen, private=admin, registry=prometheus_client.REGISTRY,
                 parent=os.getppid() if supervised else None) as listening:
        _tell_addresses(listening.addresses, as_json=as_json)
        listening.run()


def _tell_addresses(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        admin = found["admin"] if isinstance(found["admin"], str) else " ".join(found["admin"])
        click.echo(f"Guarding {found['target']} at {found['listen']}; health and metrics at {admin}")
    sys.stdout.flush()
