"""The tables of the file as frozen structs: fields are keys, their defaults are the keys' defaults."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

LARGEST = 10**15

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Seconds = Annotated[float, Meta(gt=0.0, le=86_400.0)]
Dollars = Annotated[float, Meta(ge=0.0, le=1e12)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
PluginTable = dict[str, Any]
AccountName = Annotated[str, Meta(
    pattern="^(account:[0-9a-f]{16}|(?!account:)[^:]+:.+)$",
    description="`key:<key id>`, `header:<value>`, `<claim>:<value>` or `account:<16 hexadecimal digits>`")]

PLUGINS = {"rule": "rules", "policy": "policies", "policies": "policies", "detector": "detectors", "mark": "marks"}
"""The family of the tables that a key holds."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: its fields are its keys, its defaults theirs."""


class Target(Section, frozen=True):
    """`[target]`: the model that is guarded.

    Attributes:
        kind: `http` is called at its URL, `local` is a Python callable.
        url: where the model server answers; verbs that call it need it, the guard in process doesn't.
        connect_seconds: how long it may take to take a connection.
        answer_seconds: how long it may be silent, before its answer and in it.
        task: what the model does.
        dialect: its wire format; `auto` finds it from each request.
        scores: the output tensor or field that holds probabilities; "" finds it.
        epoch: the name of the model's release; another name draws other noise.
        account_in: where the model server is told whom an answer is for, as hooks with a key for each account need
            it: the header `x-counterclone-account`, or vLLM's `vllm_xargs` in the body; "" for nowhere.
        api_key_env: the variable with the key that `audit` sends as a bearer key; unset, it sends none.
        authorized_by: who allows the audit; a URL beyond the loopback needs it.
        price_usd_per_1000_queries: what callers pay for rows.
        price_usd_per_million_tokens_in: what they pay for the text of queries, four bytes a token.
        price_usd_per_million_tokens_out: what they pay for answers, a number a token.
        training_cost_usd: what the model cost, 0 where nobody says.
    """

    kind: Literal["http", "local"] = "http"
    url: str = ""
    connect_seconds: Seconds = 5.0
    answer_seconds: Seconds = 60.0
    task: Literal["classifier", "llm", "encoder"] = "classifier"
    dialect: str = "auto"
    scores: str = ""
    epoch: str = "1"
    account_in: Literal["", "header", "vllm_xargs"] = ""
    api_key_env: str = "COUNTERCLONE_API_KEY"
    authorized_by: str = ""
    price_usd_per_1000_queries: Dollars = 0.0
    price_usd_per_million_tokens_in: Dollars = 0.0
    price_usd_per_million_tokens_out: Dollars = 0.0
    training_cost_usd: Dollars = 0.0


class AccountClass(Section, frozen=True):
    """`[[accounts.class]]`: honest users with a contract.

    Attributes:
        name: what reports call them.
        accounts: `key:<key id>`, `header:<value>`, `<claim>:<value>` or `account:<id of the journal>`.
        limit_queries_per_minute: rows a minute; 0 for no limit; the guard's where left out.
        limit_queries_per_day: rows a day, likewise.
        limit_tokens_per_minute: tokens a minute, likewise.
        limit_tokens_per_day: tokens a day, likewise.
        limit_leaked_bits_per_day: bits a day, likewise.
        limit_copy_share_per_day: part of a copy a day, likewise; of one through their own policies.
        policies: the guard's, none, or a list of their own.
        tiers: whether their risk puts them into the guard's tiers, as it does everybody else.
        marks: whether their answers may carry marks.
    """

    name: Annotated[str, Meta(min_length=1)]
    accounts: tuple[AccountName, ...]
    limit_queries_per_minute: Count | UnsetType = UNSET
    limit_queries_per_day: Count | UnsetType = UNSET
    limit_tokens_per_minute: Count | UnsetType = UNSET
    limit_tokens_per_day: Count | UnsetType = UNSET
    limit_leaked_bits_per_day: Count | UnsetType = UNSET
    limit_copy_share_per_day: Share | UnsetType = UNSET
    policies: Literal["base", "none"] | tuple[PluginTable, ...] = "base"
    tiers: bool = False
    marks: bool = True


class Accounts(Section, frozen=True):
    """`[accounts]`: who is calling.

    Attributes:
        source: where the account's name comes from.
        header: the header that a trusted proxy sets, for `source = "header"`.
        trusted_proxies: the networks that such proxies call from.
        api_keys: `open` takes any bearer key as an account of its own, `listed` only those made by
            `counterclone keys create`.
        keys_file: where the listed keys' hashes are.
        open_keys_max: open keys that are accounts of their own; once so many are in use, new ones
            share their network's account.
        jwt_key_env: the variable with the secret or public key, for `source = "jwt"`.
        jwt_algorithms: the admitted signatures.
        jwt_claim: the claim that names the account.
        jwt_audience: the audience that tokens must name, "" for any.
        secret_env: the variable with the secret that hashes accounts and keys the noise; where it is
            unset, a key file is made beside this file.
        terms: the version of the terms that callers accept by calling, "" for none; kept in the marks' ledger.
        terms_header: in which the proxy says what the caller accepted, for `source = "header"`; "" for none.
        class_: the account classes.
    """

    source: Literal["bearer", "header", "jwt"] = "bearer"
    header: str = "x-account"
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    api_keys: Literal["open", "listed"] = "open"
    keys_file: str = "counterclone.keys.json"
    open_keys_max: Positive = 100_000
    jwt_key_env: str = "COUNTERCLONE_JWT_KEY"
    jwt_algorithms: tuple[Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "ES256",
                                  "ES384", "EdDSA"], ...] = ("HS256",)
    jwt_claim: str = "sub"
    jwt_audience: str = ""
    secret_env: str = "COUNTERCLONE_SECRET"  # noqa: S105 (the name of a variable)
    terms: Annotated[str, Meta(pattern="^[A-Za-z0-9._:/-]{0,64}$")] = ""
    terms_header: str = ""
    class_: tuple[AccountClass, ...] = msgspec.field(default=(), name="class")


class Tier(Section, frozen=True):
    """`[[guard.tier]]`: what accounts from a risk upwards get, besides what those below it get.

    Attributes:
        risk: from which an account is in it, above 0.
        action: `throttle` lowers the limit, `block` answers 403, `review` opens a case and changes nothing.
        limit_queries_per_minute: rows a minute; the limit of the tier below where left out.
        policy: what its answers pass through after those of the tier below.
    """

    risk: Annotated[float, Meta(gt=0.0, le=1.0)]
    action: Literal["throttle", "block", "review"] | UnsetType = UNSET
    limit_queries_per_minute: Positive | UnsetType = UNSET
    policy: tuple[PluginTable, ...] = ()


class Guard(Section, frozen=True):
    """`[guard]`: what comes in, what leaves, and how much of it.

    Attributes:
        listen: where the gateway serves the public, host:port; not used in process.
        admin: where the gateway serves health and metrics, likewise.
        request_seconds: how long a client of the gateway may take to send a request, and how long it may not
            read its answer.
        limit_queries_per_minute: rows an account may ask in a minute; 0 for no limit.
        limit_queries_per_day: rows an account may ask in a day; 0 for no limit.
        limit_tokens_per_minute: tokens of queries and answers that an account may have in a minute; 0 for no
            limit.
        limit_tokens_per_day: tokens in a day; 0 for no limit.
        limit_leaked_bits_per_day: bits that answers to an account may hold in a day; 0 only meters.
        limit_copy_share_per_day: the part of the queries of the cheapest audited 90 % copy through these policies
            that an account may ask in a day; 0 for no limit, and none until an audit has run.
        limit_total_queries_per_minute: rows of all accounts in a minute; 0 for no limit.
        limit_total_queries_per_day: rows of all accounts in a day; 0 for no limit.
        alert_usd_per_day: dollars; an account that spends more in a day raises an alert, 0 for none.
        tier_step_seconds: an account's tier is looked at once in so many seconds, at moments of its own.
        limit_body_bytes: the largest request body.
        limit_answer_bytes: the largest answer that is held back to be cleaned; a longer one is a 502.
        limit_in_flight: requests under way at once; more are a 503.
        workers: processes that guard with this file on one machine; without a [store] each admits its part of
            every limit.
        enforce: false decides, counts and journals, and changes nothing (shadow mode).
        on_error: `block` answers 502 where an answer can't be cleaned, `pass` serves it as it is.
        unknown: `block` rejects what no dialect reads, `pass` lets it through unscanned.
        paths: shell patterns of the paths that are guarded; others pass untouched.
        rule: what comes in, applied in file order.
        policy: what leaves, applied in file order.
        tier: what accounts get whose risk is high.
    """

    listen: str = "127.0.0.1:8000"
    admin: str = "127.0.0.1:8001"
    request_seconds: Seconds = 30.0
    limit_queries_per_minute: Count = 600
    limit_queries_per_day: Count = 0
    limit_tokens_per_minute: Count = 0
    limit_tokens_per_day: Count = 0
    limit_leaked_bits_per_day: Count = 0
    limit_copy_share_per_day: Share = 0.0
    limit_total_queries_per_minute: Count = 0
    limit_total_queries_per_day: Count = 0
    alert_usd_per_day: Dollars = 0.0
    tier_step_seconds: Seconds = 30.0
    limit_body_bytes: Positive = 10_000_000
    limit_answer_bytes: Positive = 50_000_000
    limit_in_flight: Positive = 1000
    workers: Positive = 1
    enforce: bool = True
    on_error: Literal["block", "pass"] = "block"
    unknown: Literal["block", "pass"] = "block"
    paths: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    rule: tuple[PluginTable, ...] = ()
    policy: tuple[PluginTable, ...] = ()
    tier: tuple[Tier, ...] = ()


class Journal(Section, frozen=True):
    """`[journal]`: who asked what.

    Attributes:
        path: the folder, from this file's; "" keeps no journal.
        retention_days: days that exchanges are kept; 0 for ever.
        retention_bytes: bytes after which the oldest go; 0 for no bound.
        payloads: whether queries and answers themselves are kept.
    """

    path: str = "journal"
    retention_days: Count = 90
    retention_bytes: Count = 10_000_000_000
    payloads: bool = False


class Store(Section, frozen=True):
    """`[store]`: where several processes, or machines, count their limits together.

    Attributes:
        url_env: the variable with the address of a Valkey or Redis server, redis://host:port/number; "" counts in
            each process, its part of every limit.
        lease: the part of a limit that a process takes at once and spends by itself; 0 asks for each request.
        lease_seconds: what was taken and not used for so long goes back.
        machines: that guard with this file; where the server is away, each of their workers admits its part.
    """

    url_env: str = ""
    lease: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.05
    lease_seconds: Seconds = 2.0
    machines: Positive = 1


class Watch(Section, frozen=True):
    """`[watch]`: who may be copying the model.

    Attributes:
        benign: exchanges of honest accounts, a file or a journal's folder, from this file's folder; "" takes the
            watched source's own past.
        false_alarms_per_year: of the whole fleet; half of them may be accounts', half campaigns'.
        max_accounts: accounts that are remembered; of more, those that were quiet longest are forgotten.
        webhook_url: where alarms are posted, "" for nowhere.
        webhook_secret_env: the variable with the secret that signs them.
        syslog: where alarms are logged, a socket's path or host:port (UDP), "" for nowhere.
        detector: what accounts are compared by; the default ones where none is named.
    """

    benign: str = ""
    false_alarms_per_year: Annotated[float, Meta(gt=0.0, le=1e6)] = 12.0
    max_accounts: Annotated[int, Meta(ge=1, le=10**8)] = 200_000
    webhook_url: str = ""
    webhook_secret_env: str = "COUNTERCLONE_WEBHOOK_SECRET"  # noqa: S105 (the name of a variable)
    syslog: str = ""
    detector: tuple[PluginTable, ...] = ()


class Prove(Section, frozen=True):
    """`[prove]`: what is committed to before marked answers are served, and where it is kept.

    Attributes:
        keys: the folder of the mark keys and the commitments, from this file's; keep a copy of it elsewhere.
        ledger: the folder of what was served, likewise.
        budget: queries that a suspect may be asked.
        alpha: the level of a verdict.
        decoys: decoy keys that are ranked.
        timestamp_url: an authority (RFC 3161) that says when commitments and the ledger were there, "" for none.
        timestamp_roots: the file of the certificates that the authority's own must lead to, from this file's.
    """

    keys: Annotated[str, Meta(min_length=1)] = "counterclone.marks"
    ledger: Annotated[str, Meta(min_length=1)] = "ledger"
    budget: Positive = 1_000_000
    alpha: Annotated[float, Meta(gt=0.0, le=0.05)] = 1e-6
    decoys: Annotated[int, Meta(ge=19, le=100_000)] = 999
    timestamp_url: str = ""
    timestamp_roots: str = ""


class Tune(Section, frozen=True):
    """`[tune]`: what honest users may lose by the setting that `counterclone tune` chooses.

    Attributes:
        accuracy_loss_max: of the top label.
        calibration_error_increase_max: of the top probability.
        honest_limited_max: the share of honest accounts that a limit may ever refuse; the upper end of its 95 %
            interval counts.
    """

    accuracy_loss_max: Share = 0.0
    calibration_error_increase_max: Share = 0.02
    honest_limited_max: Share = 0.01


class Console(Section, frozen=True):
    """`[console]`: the owner's pages on the port of `[guard] admin`.

    Attributes:
        token_env: the variable with the token that opens them; where it is unset, a file with one is made beside
            this file.
    """

    token_env: str = "COUNTERCLONE_CONSOLE_TOKEN"  # noqa: S105 (the name of a variable)


class Config(Section, frozen=True):
    """The whole file."""

    target: Target = Target()
    accounts: Accounts = Accounts()
    guard: Guard = Guard()
    journal: Journal = Journal()
    store: Store = Store()
    watch: Watch = Watch()
    mark: tuple[PluginTable, ...] = ()
    prove: Prove = Prove()
    tune: Tune = Tune()
    console: Console = Console()

    def digest(self) -> str:
        """16 hexadecimal digits that change with any setting; reports carry them. Holds no secret."""
        return hashlib.blake2b(msgspec.json.encode(self, order="deterministic"), digest_size=8).hexdigest()
