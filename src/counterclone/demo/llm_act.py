"""Act `llm`: a language model behind the gateway, a campaign that asks it, and copies of a small one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from counterclone import report
from counterclone.demo import desk_theft, gemma, prompts


class Findings(msgspec.Struct, frozen=True):
    """The act's findings.

    Attributes:
        gemma: what clients of Gemma get.
        prompts: what the watch says of a day of prompts.
        desk: what became of the copies of a narrow model.
    """

    gemma: gemma.Findings
    prompts: prompts.Findings
    desk: desk_theft.Findings


def run(seed: int, say: Callable[[str], None]) -> Findings:
    """Play the three parts."""
    return Findings(gemma.run(seed, say), prompts.run(seed, say), desk_theft.run(seed, say))


def table(findings: Findings) -> report.Table:
    """The findings for people."""
    asked, watched, desk = findings.gemma, findings.prompts, findings.desk
    both = desk.bare, desk.guarded
    return report.Table(
        caption="Language models: Gemma 3 270M, a campaign of prompts, and copies of a help desk's model",
        heads=("", "bare", "guarded"),
        rows=((f"Gemma: the same text, of {asked.questions} answers", "", f"{asked.same_text}"),
              ("Gemma: log-probabilities a token", f"{asked.top_bare}", f"{asked.top_guarded}"),
              ("Gemma: biases with log-probabilities", *("answered" if each else "refused"
                                                         for each in (asked.bias_bare, asked.bias_guarded))),
              (f"campaign of {watched.campaign}: accounts alarmed on", "", f"{watched.named}"),
              (f"honest accounts alarmed on, of {watched.accounts:,}", "", f"{watched.honest_alarms}"),
              ("help desk: fields unchanged for its users", "", f"{desk.unchanged:.1%}"),
              (f"copy of {desk.queries:,} replies: all fields right", *(f"{each.exact:.1%}" for each in both)),
              ("copy: verdict", *(each.verdict.verdict.replace("-", " ") for each in both)),
              ("copy: p-value, corrected for all accounts", *(f"{each.verdict.p_value:.1g}" for each in both)),
              ("copy: accounts named", *(str(len(each.verdict.accounts)) for each in both))),
        notes=(f"OpenAI's client asks for {gemma.ASKED_TOP} alternatives with each token; the gateway leaves "
               f"{gemma.TOP}, with two digits.",
               f"The campaign fills the slots of a few templates, {watched.prompts:,} prompts in a day; "
               f"{watched.known:,} other honest accounts set the bar.",
               "The most frequent fields, without a query, are right for "
               f"{desk.majority:.1%}. Who asks and learns gets a copy all the same; the marked passages give it "
               f"away: {desk.guarded.verdict.finding}",
               "Not proven is no acquittal: the bare copy learnt from a server without marks."))
