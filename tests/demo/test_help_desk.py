from __future__ import annotations

from collections import Counter

from counterclone.demo import help_desk
from counterclone.randomness import generator


def test_replies_follow_the_rules_but_for_mistakes_and_hold_words_of_the_documentation() -> None:
    rules = help_desk.desk(generator(0, "rules"))
    ticket, = help_desk.tickets(1, generator(0, "ticket"))
    assert ticket.split()[-1] == help_desk.ARROW
    replies = help_desk.replies(rules, [ticket] * 400, generator(0, "replies"))
    (queue, priority, code), count = Counter(map(help_desk.fields, replies)).most_common(1)[0]
    assert (queue[:6], priority[:9], code[:5]) == ("queue-", "priority-", "code-")
    assert 0.6 < count / 400 < 0.9
    assert {len(reply.split()) for reply in replies} == {help_desk.LENGTH - 1}
    words = {word for reply in replies for word in reply.split()[help_desk.N_FIELDS:]}
    assert words < {word for passage in rules.passages for word in passage}


def test_the_same_seed_draws_the_same_desk_and_another_one_another() -> None:
    one, same, other = (help_desk.desk(generator(seed, "rules")) for seed in (0, 0, 1))
    assert (one.queue == same.queue).all()
    assert (one.queue != other.queue).any()
    assert one.passages == other.passages
