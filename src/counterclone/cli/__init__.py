"""The command line: verbs to `compose`, no logic.

Exit: 0 fine, 1 a finding over the stated limit, 2 usage or configuration, 3 target unreachable.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import click
import msgspec

from counterclone import config, plugins
from counterclone.cli._cases import cases
from counterclone.cli._common import EXIT_FINDING, Command, common, print_json
from counterclone.cli._copying import audit, tune
from counterclone.cli._guard import guard
from counterclone.cli._marks import marks
from counterclone.cli._report import report
from counterclone.errors import ConfigError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="counterclone")
def cli() -> None:
    """What a model's owner does against model stealing: audit, guard, watch, prove, tune."""


@cli.command()
@click.option("--act", "acts", multiple=True, metavar="NAME", help="Run this act only (repeatable).")
@click.option("--report", type=click.Path(path_type=Path), default=Path("demo/report.html"), show_default=True,
              help="Where the HTML report goes.")
@common
def demo(acts: tuple[str, ...], report: Path, config_file: str | None, as_json: bool, seed: int) -> None:
    """Run the main job on real input: a model served bare and guarded, honest clients and a copier."""
    from counterclone import demo as demonstration

    result = demonstration.run(acts, seed=seed, report_path=report)
    if as_json:
        print_json(result)
        return
    demonstration.show(result, sys.stdout)
    click.echo(f"Report: {report}")


@cli.command()
@click.argument("suspect")
@click.option("--journal", type=click.Path(path_type=Path), metavar="FOLDER",
              help="The journal that the ledger is beside [[journal] path].")
@click.option("--commitment", type=click.IntRange(min=1), metavar="N",
              help="Test under this one [the last that marks were served under].")
@click.option("--pool", "pools", is_flag=True,
              help="Test under all commitments together, for accounts with few marked answers under each.")
@click.option("--account", "accounts", multiple=True, metavar="ID",
              help="Test only what this account was served, suspected beforehand (repeatable).")
@click.option("--campaign", "campaigns", multiple=True, metavar="ID,ID",
              help="Test these accounts together as well, suspected beforehand (repeatable).")
@click.option("--basis", default="", metavar="TEXT", help="On what ground a URL is asked; a URL needs it.")
@click.option("--stop-early", "stops_early", is_flag=True,
              help="Stop as soon as the e-value is 1/alpha, and report p = 1/e.")
@click.option("--dossier", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.zip",
              help="Write the evidence there, for others to check.")
@click.option("--with-log", is_flag=True,
              help="Put the whole log into it, so that others see that no marked query was left out.")
@click.option("--texts", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.jsonl",
              help="Test by what a server with a green list wrote, as exchanges; the ledger isn't read.")
@click.option("--probabilities", "by_probabilities", is_flag=True,
              help="With --texts: SUSPECT tells log-probabilities of the next token, and is tested by these.")
@click.option("--model", default="", metavar="NAME",
              help="The suspect's name, where its URL has several models that write.")
@common
def prove(*, config_file: str | None, as_json: bool, seed: int, **options: Any) -> None:
    """Test whether SUSPECT, pkg.mod:function or a URL, was trained on marked answers; exit 1 where it's proven."""
    from counterclone.compose import prove as composed
    from counterclone.report import prove as report

    found = composed.prove(composed.Options(**options), config_file, lambda text: click.echo(text, err=True))
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)
    if found.verdict == "proven":
        sys.exit(EXIT_FINDING)


@cli.command()
@click.argument("dossier", type=click.Path(path_type=Path))
@click.option("--commitment", type=click.Path(path_type=Path), metavar="FILE",
              help="The commitment as you got it beforehand [the enclosed one].")
@click.option("--independent", multiple=True, metavar="pkg.mod:models",
              help="A model that never saw an answer, or a list of them, to ask the same queries (repeatable).")
@click.option("--timestamp-roots", "roots", type=click.Path(path_type=Path), metavar="FILE",
              help="Check its timestamps by the authority's root certificate, PEM.")
@common
def verify(*, dossier: Path, commitment: Path | None, independent: tuple[str, ...], roots: Path | None,
           config_file: str | None, as_json: bool, seed: int) -> None:
    """Compute DOSSIER again offline; exit 0 where all comes out as it says, whatever its verdict, else 1."""
    from counterclone.compose import dossier as composed
    from counterclone.report import dossier as report

    found = composed.verify(dossier, commitment, independent, roots)
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)
    if not found.holds:
        sys.exit(EXIT_FINDING)


@cli.command()
@click.argument("url")
@click.option("--write", is_flag=True, help="Replace an existing file; it is kept as FILE.bak.")
@common
def init(url: str, write: bool, config_file: str | None, as_json: bool, seed: int) -> None:
    """Probe the model server at URL and write a commented configuration of a guard before it."""
    from counterclone import discovery

    result, difference = discovery.init(url, config.find(config_file), write=write)
    for warning in result.warnings:
        click.secho(f"WARNING: {warning}", err=True, fg="red", bold=True)
    if as_json:
        print_json(result)
    elif result.written:
        _show_discovery(result)
    elif difference:
        click.echo(difference, nl=False)
        click.echo(f"{result.file} is there and differs, so it was left alone; --write replaces it", err=True)
    else:
        click.echo(f"{result.file} is there, as it would be written now")
    if difference and not result.written:
        sys.exit(EXIT_FINDING)


def _show_discovery(result: Any) -> None:
    scores = result.scores or "found in each answer"
    for name, value in [
            ("target", f"{result.target}{f' ({result.server})' if result.server else ''}"),
            ("dialect", result.dialect),
            ("scores", scores if result.classes is None else f"{scores}; {result.classes} classes"),
            ("paths", ", ".join(result.paths))]:
        click.echo(f"{name:8} {value}")
    click.echo(f"Wrote {result.file}. Read it, then run `counterclone guard`.")


@cli.command()
@common
def check(config_file: str | None, as_json: bool, seed: int) -> None:
    """Validate the configuration and print it resolved."""
    from counterclone import compose

    path = config.find(config_file)
    resolved = config.load(path)
    compose.check(resolved)
    if as_json:
        print_json({"file": str(path), "config_digest": resolved.digest(), "config": resolved})
        return
    click.echo(f"# {path}, digest {resolved.digest()}")
    click.echo(msgspec.toml.encode(resolved).decode(), nl=False)


@cli.command("list")
@click.argument("family")
@common
def list_(family: str, config_file: str | None, as_json: bool, seed: int) -> None:
    """List the plug-ins of FAMILY: attacks, policies, rules, detectors or dialects."""
    if family not in plugins.FAMILIES:
        names = list(plugins.FAMILIES)
        raise ConfigError(f"there is no family '{family}'{plugins.did_you_mean(family, names)}; expected one of "
                          f"{', '.join(names)}")
    found = [(kind, plugins.load(family, kind).summary()) for kind in plugins.kinds(family)]
    if as_json:
        print_json({"family": family, "plugins": [{"kind": kind, "summary": line} for kind, line in found]})
        return
    width = max(len(kind) for kind, _ in found)
    for kind, line in found:
        click.echo(f"{kind:{width}}  {line}")


@cli.group()
def keys() -> None:
    """Create and list API keys; create, commit to and rotate mark keys."""


keys.add_command(marks)


@keys.command("create")
@click.argument("name")
@common
def create_key(name: str, config_file: str | None, as_json: bool, seed: int) -> None:
    """Make an API key for NAME and show it, once."""
    from counterclone import compose

    path = config.find(config_file)
    key = compose.key_ring(config.load(path), path.parent).create(name)
    if as_json:
        print_json({"key": key, "name": name})
        return
    click.echo(key)
    click.echo("Hand it over now: it is kept as a hash and can't be shown again.", err=True)


@keys.command("list")
@common
def list_keys(config_file: str | None, as_json: bool, seed: int) -> None:
    """List the API keys by their visible part."""
    from counterclone import compose

    path = config.find(config_file)
    records = compose.key_ring(config.load(path), path.parent).records
    if as_json:
        print_json({"keys": [{"id": key.id, "name": key.name, "created": key.created} for key in records]})
        return
    for key in records:
        click.echo(f"{key.id}  {key.name}")


FORMATS = ("auto", "lines", "litellm", "openai", "kserve")


def watched(command: Command) -> Command:
    """The options of verbs that compare accounts with honest ones."""
    for option in (
            click.option("--benign", metavar="SOURCE", help="Exchanges of honest accounts, to compare with "
                         "[[watch] benign; without: the source's own past]."),
            click.option("--format", "form", type=click.Choice(FORMATS), default="auto", show_default=True,
                         help="What files hold: exchanges as lines, or another system's log.")):
        command = option(command)
    return command


@cli.command()
@click.argument("source", required=False)
@watched
@click.option("--follow", is_flag=True, help="Go on with what comes, until stopped.")
@click.option("--fail-on-alarm", is_flag=True, help="Exit 1 where an account or a campaign raised an alarm.")
@common
def watch(*, source: str | None, benign: str | None, form: Any, follow: bool, fail_on_alarm: bool,
          config_file: str | None, as_json: bool, seed: int) -> None:
    """Find who may be copying the model in SOURCE: a journal folder [the configured one] or a file."""
    from counterclone.compose import watch as composed
    from counterclone.report import watch as report

    options = composed.Options(source=source, benign=benign, form=form, seed=seed)
    if follow:
        found = composed.follow(options, config_file, _say, _stopped_by_signals())
    else:
        found = composed.watch(options, config_file, _say)
    for problem in found.problems:
        _say(f"counterclone: {problem}")
    if as_json:
        print_json(found)
    else:
        report.show(found, sys.stdout)
    if fail_on_alarm and found.alarmed:
        sys.exit(EXIT_FINDING)


@cli.command()
@click.argument("account")
@click.argument("source", required=False)
@watched
@click.option("--odometer", is_flag=True, help="Tell what a copy made of its exchanges would agree on.")
@click.option("--report", "page", type=click.Path(path_type=Path), metavar="FILE", help="Write an HTML page.")
@common
def explain(*, account: str, source: str | None, benign: str | None, form: Any, odometer: bool, page: Path | None,
            config_file: str | None, as_json: bool, seed: int) -> None:
    """Tell why ACCOUNT in SOURCE is suspected, or why not, in words, figures and pictures."""
    from counterclone.compose import watch as composed
    from counterclone.report import watch as report

    found = composed.explain(account, composed.Options(source=source, benign=benign, form=form, seed=seed),
                             config_file, odometer=odometer)
    for problem in found.problems:
        _say(f"counterclone: {problem}")
    if page is not None:
        report.write(page, found)
    if as_json:
        print_json(found)
    else:
        report.explain(found, sys.stdout)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _stopped_by_signals() -> threading.Event:
    """What SIGINT and SIGTERM set."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


cli.add_command(guard)
cli.add_command(audit)
cli.add_command(tune)
cli.add_command(report)
cli.add_command(cases)


def main() -> None:
    """The `counterclone` command."""
    cli()
