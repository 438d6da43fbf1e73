"""The hook of vLLM, against the base class that vLLM publishes.

Where vLLM isn't installed (it is hundreds of megabytes and wants an accelerator), a class with the signatures of
vllm.v1.worker.gpu.sample.logits_processor of 0.33 takes its place.
"""

from __future__ import annotations

import importlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from counterclone.marks.greenlist import Greenlist
from counterclone.randomness import Prf
from counterclone.serving.hook import FILE_VARIABLE, save

torch = pytest.importorskip("torch")
PUBLISHED = "vllm.v1.worker.gpu.sample.logits_processor"
N_TOKENS, N_SLOTS = 300, 6
KEY = Prf.from_secret("key")


class LogitsProcessor(ABC):
    def __init__(self, vllm_config: Any, req_states: Any) -> None: ...  # noqa: B027

    @classmethod  # noqa: B027
    def validate_params(cls, sampling_params: Any) -> None: ...

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        return True

    def apply_staged_writes(self) -> None: ...  # noqa: B027

    @abstractmethod
    def apply(self, logits: Any, ctx: Any) -> Any: ...


@pytest.fixture(scope="module")
def processor_class() -> Iterator[Any]:
    try:
        importlib.import_module(PUBLISHED)
    except ImportError:
        names = PUBLISHED.split(".")
        modules = {".".join(names[:n]): ModuleType(".".join(names[:n])) for n in range(1, len(names) + 1)}
        modules[PUBLISHED].LogitsProcessor = LogitsProcessor  # type: ignore[attr-defined]
        with pytest.MonkeyPatch.context() as patched:
            for name, module in modules.items():
                patched.setitem(sys.modules, name, module)
            yield importlib.import_module("counterclone.serving.vllm").GreenlistProcessor
        sys.modules.pop("counterclone.serving.vllm", None)
    else:
        yield importlib.import_module("counterclone.serving.vllm").GreenlistProcessor


def started(processor_class: Any, mark: Greenlist, folder: Path, monkeypatch: pytest.MonkeyPatch,
            tokens: Any = None) -> Any:
    """A processor as vLLM makes it, with what it knows of requests."""
    save(folder / "hook.json", mark, KEY)
    monkeypatch.setenv(FILE_VARIABLE, str(folder / "hook.json"))
    states = SimpleNamespace(device=torch.device("cpu"), max_num_reqs=N_SLOTS, vocab_size=N_TOKENS,
                             all_token_ids=SimpleNamespace(gpu=tokens))
    return processor_class(SimpleNamespace(), states)


def context(slots: list[int], fed: list[int], places: list[int], offsets: list[int] | None = None) -> Any:
    return SimpleNamespace(expanded_idx_mapping=torch.tensor(slots), input_ids=torch.tensor(fed),
                           pos=torch.tensor(places), expanded_local_pos=torch.tensor(offsets or [0] * len(slots)))


def params(**extra: object) -> Any:
    return SimpleNamespace(extra_args=extra or None)


def test_rows_are_marked_after_the_token_that_was_fed(processor_class: Any, tmp_path: Path,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Greenlist(test="unique")
    processor = started(processor_class, mark, tmp_path, monkeypatch)
    assert isinstance(processor, sys.modules[PUBLISHED].LogitsProcessor)
    assert processor.add_request(2, params()) is True
    assert processor.add_request(4, params(counterclone_account="whoever")) is True
    logits = torch.zeros(3, N_TOKENS)
    logits[1, 5] = -torch.inf
    changed = processor.apply(logits, context([4, 2, 2], [8, 9, 3], [5, 7, 8], [0, 0, 1]))
    assert changed is logits
    for row, token in enumerate((8, 9, 3)):
        bias = mark.delta * mark.green(KEY).after([token], N_TOKENS)
        assert (changed[row].numpy() == np.where(torch.isinf(changed[row]), -np.inf, bias)).all()
    assert changed[1, 5] == -torch.inf


def test_slots_are_of_who_has_them_now_and_nobodys_arent_marked(processor_class: Any, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Greenlist(test="unique", keys="account")
    processor = started(processor_class, mark, tmp_path, monkeypatch)
    assert processor.add_request(0, params(counterclone_account="a")) is True
    assert processor.add_request(1, params()) is False
    assert processor.add_request(3, params(counterclone_account="c")) is True
    assert processor.add_request(3, params(counterclone_account="d")) is True
    changed = processor.apply(torch.zeros(4, N_TOKENS), context([3, 1, 0, 5], [7, 7, 7, 7], [4, 4, 4, 4]))
    assert (changed[0].numpy() == mark.delta * mark.green(KEY, "d").after([7], N_TOKENS)).all()
    assert (changed[2].numpy() == mark.delta * mark.green(KEY, "a").after([7], N_TOKENS)).all()
    assert not changed[1].any()
    assert not changed[3].any()
    assert processor.add_request(0, params()) is False  # the slot's next request is nobody's
    assert not processor.apply(torch.zeros(1, N_TOKENS), context([0], [7], [4])).any()


def test_two_tokens_of_context_are_the_slots_and_the_drafts(processor_class: Any, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Greenlist(test="unique", context=2)
    tokens = torch.zeros(N_SLOTS, 16, dtype=torch.int32)
    tokens[2, :5] = torch.tensor([11, 12, 13, 14, 15])
    processor = started(processor_class, mark, tmp_path, monkeypatch, tokens)
    processor.add_request(2, params())
    processor.add_request(3, params())
    # the slot's last token is fed, then two drafts that aren't among its tokens; the other slot begins
    changed = processor.apply(torch.zeros(4, N_TOKENS), context([2, 2, 2, 3], [15, 21, 22, 9], [4, 5, 6, 0],
                                                                [0, 1, 2, 0]))
    for row, before in enumerate(([14, 15], [15, 21], [21, 22])):
        assert (changed[row].numpy() == mark.delta * mark.green(KEY).after(before, N_TOKENS)).all()
    assert not changed[3].any()


def test_an_account_that_isnt_text_is_refused(processor_class: Any) -> None:
    processor_class.validate_params(params(counterclone_account="a"))
    processor_class.validate_params(params())
    with pytest.raises(ValueError, match="counterclone_account: expected the account as text"):
        processor_class.validate_params(params(counterclone_account=3))
