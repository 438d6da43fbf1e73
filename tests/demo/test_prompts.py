from __future__ import annotations

from counterclone.demo import prompts


def test_a_campaign_is_alarmed_on_among_honest_accounts() -> None:
    said: list[str] = []
    found = prompts.run(0, said.append)
    assert said == ["llm: 1,000 honest accounts and a campaign of 100 on one day"]
    assert (found.known, found.accounts, found.campaign) == (3_000, 1_000, 100)
    assert found.prompts > 2_000
    assert found.named >= 80
    assert found.honest_alarms <= 4
