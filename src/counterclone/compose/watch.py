"""Configuration and command line to a watch over a source."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from counterclone import config as configuration
from counterclone.compose.secrets import KEY_FILE, root_key
from counterclone.config import DEFAULT_FILE, FILE_VARIABLE, Config, Watch
from counterclone.errors import ConfigError, SourceError
from counterclone.randomness import Prf
from counterclone.watch import explanation, honest, sources
from counterclone.watch.cases import CASES_FILE, CaseFile, Evidence
from counterclone.watch.engine import Engine, Tell, detectors, reference_of
from counterclone.watch.explanation import Explanation, Keeper
from counterclone.watch.importers import Format
from counterclone.watch.notices import Notifier, Sink, Syslog, Webhook
from counterclone.watch.odometer import Reading
from counterclone.watch.result import Watched
from counterclone.watch.sources import Source

PAST_COPIERS = 0.05
"""Of the accounts of a source's own past, at most so many are left out as copiers'."""
SEARCH_SECONDS = 86_400.0
"""Between two searches for campaigns in traffic that is followed."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        source: a journal's folder or a file of exchanges; the configured journal where left out.
        benign: honest traffic, likewise a folder or a file; [watch] benign where left out.
        form: what files hold.
        seed: keys what the configuration's secret would, where there is none.
    """

    source: str | None
    benign: str | None
    form: Format
    seed: int


class Watching:
    """A watch that is ready to begin.

    Attributes:
        engine: what watches.
        place: where what is watched is.
        source: what is watched.
        honest: what it is compared with, None where there is nothing.
    """

    def __init__(self, options: Options, config_file: str | None, tell: Tell) -> None:
        """Read the honest traffic.

        Raises:
            ConfigError: a mistake in the file or in the options.
            SourceError: a source that isn't there, or can't be read.
        """
        path = configuration.find(config_file)
        settings = _settings(path, is_needed=options.source is None)
        watch = settings.watch if settings else Watch()
        root = root_of(settings, path.parent, options.seed)
        digests, key = root.subkey("digests"), root.subkey("watch")
        self.place = _source(options, settings, path)
        self.source = sources.find(self.place, digests, options.form)
        self._benign = _benign(options, watch, path, digests)
        if self._benign is not None:
            self.honest = honest.gather(self._benign, key)
        else:
            everybody = honest.gather(sources.find(self.place, digests, options.form), key)
            self.honest = None if everybody is None else honest.past(everybody)
        self.engine = Engine(
            reference_of(self.honest, detectors(watch.detector), key, trim=0.0 if self._benign else PAST_COPIERS),
            self.honest, key,
            false_alarms_per_year=watch.false_alarms_per_year, max_accounts=watch.max_accounts, tell=tell)

    @property
    def result(self) -> Watched:
        """What was found so far."""
        problems = [*self.source.problems, *(self._benign.problems if self._benign else ())]
        return self.engine.result(self.source.n_skipped, problems)


def watch(options: Options, config_file: str | None, say: Say) -> Watched:
    """Watch all that a source has.

    Args:
        options: the command line's.
        config_file: likewise.
        say: takes alarms, as a line each.

    Raises:
        ConfigError: a mistake in the file or in the options.
        SourceError: a source that isn't there, or can't be read.
    """
    with _telling(options, config_file, say) as tell:
        watching = Watching(options, config_file, tell)
        for traffic in watching.source.traffic():
            watching.engine.take(traffic)
        watching.engine.search()
        return watching.result


def follow(options: Options, config_file: str | None, say: Say, stop: threading.Event) -> Watched:
    """Watch all that a source has, and then what comes, until told to stop; look for campaigns once a day.

    Args:
        options: the command line's.
        config_file: likewise.
        say: takes alarms, as a line each.
        stop: set by somebody else.

    Raises:
        ConfigError: a mistake in the file or in the options.
        SourceError: a source that isn't there, or can't be read.
    """
    with _telling(options, config_file, say) as tell:
        watching = Watching(options, config_file, tell)
        next_search = float("-inf")
        for traffic in watching.source.follow():
            if traffic is not None:
                watching.engine.take(traffic)
            elif time.monotonic() >= next_search:
                watching.engine.search()
                next_search = time.monotonic() + SEARCH_SECONDS
            if stop.is_set():
                break
        return watching.result


def explain(account: str, options: Options, config_file: str | None, *, odometer: bool = False) -> Explanation:
    """Why an account is suspected, or why not; nobody is told anything.

    Args:
        account: its name.
        options: the command line's.
        config_file: likewise.
        odometer: whether to tell what it could have learnt.

    Raises:
        ConfigError: a mistake in the file or in the options.
        SourceError: a source that isn't there, can't be read or holds no payloads; or it has no such account.
        WatchError: others asked too little to tell what it could have learnt.
    """
    watching = Watching(options, config_file, lambda *_: None)
    keeper = Keeper(account)
    for traffic in watching.source.traffic():
        watching.engine.take(traffic)
        keeper.take(traffic)
    watching.engine.search()
    reading = _reading(watching.place, account, options.seed) if odometer else None
    return explanation.explain(account, watching.engine, watching.result, watching.honest, keeper.exchanges,
                               odometer=reading)


def _reading(source: Path, account: str, seed: int) -> Reading:
    from counterclone.watch import odometer, payloads

    split = payloads.split(source, {account})
    return odometer.read(split.asked, split.others, seed)


def notifier(watch: Watch, environ: Mapping[str, str] = os.environ) -> Notifier:
    """What sends the alarms of a configuration.

    Raises:
        ConfigError: the webhook's secret is missing or wrong.
    """
    sinks: list[Sink] = []
    if watch.webhook_url:
        secret = environ.get(watch.webhook_secret_env, "")
        try:
            sinks.append(Webhook(watch.webhook_url, secret))
        except ConfigError as error:
            variable = watch.webhook_secret_env
            raise ConfigError(f"[watch] webhook_secret_env: the variable {variable}: {error}") from None
    if watch.syslog:
        sinks.append(Syslog(watch.syslog))
    return Notifier(sinks)


@contextmanager
def _telling(options: Options, config_file: str | None, say: Say) -> Iterator[Tell]:
    """Tells alarms to whoever the file names, and says them; those of the configured journal become cases, and are
    told once.
    """
    path = configuration.find(config_file)
    settings = _settings(path, is_needed=False)
    sending = notifier(settings.watch if settings else Watch())
    cases = CaseFile(path.parent / CASES_FILE) if options.source is None else None

    def tell(accounts: Sequence[str], evidence: Evidence, campaign: str) -> None:
        who = f"campaign {campaign} of {len(accounts):,} accounts" if campaign else f"account {accounts[0]}"
        p_value = "" if evidence.p_value is None else f", p {evidence.p_value:.1e}"
        say(f"ALARM: {who} at {evidence.queries:,} queries{p_value}: {'; '.join(evidence.reasons)}")
        try:
            is_new = cases is None or cases.open(accounts, evidence) is not None
        except SourceError as error:
            say(str(error))
            is_new = True
        if is_new:
            sending.tell(accounts, evidence, campaign)

    try:
        yield tell
    finally:
        sending.close()
        if sending.failed or sending.dropped:
            say(f"{sending.failed + sending.dropped:,} alarms weren't delivered ({sending.last_error})")


def _settings(path: Path, *, is_needed: bool) -> Config | None:
    """The file's settings; None where there is no file, none was named and none is needed."""
    is_default = str(path) == DEFAULT_FILE and not os.environ.get(FILE_VARIABLE)
    return None if is_default and not is_needed and not path.exists() else configuration.load(path)


def root_of(settings: Config | None, folder: Path, seed: int) -> Prf:
    """The configuration's root key if it has one: no file of keys is made to read a source."""
    if settings is not None and (os.environ.get(settings.accounts.secret_env) or (folder / KEY_FILE).exists()):
        return root_key(settings, folder)
    return Prf.from_secret(f"counterclone watch {seed}")


def _source(options: Options, settings: Config | None, path: Path) -> Path:
    if options.source is not None:
        return Path(options.source)
    folder = settings.journal.path if settings else ""
    if not folder:
        raise SourceError(f"{path}: [journal] path is empty, so nothing is journalled; name a source")
    return path.parent / folder


def _benign(options: Options, watch: Watch, path: Path, digests: Prf) -> Source | None:
    if options.benign is not None:
        return sources.find(Path(options.benign), digests, options.form)
    return sources.find(path.parent / watch.benign, digests) if watch.benign else None
