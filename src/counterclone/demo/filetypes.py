"""The model of the act `magika`: file types from bytes, as their authors package them (Apache-2.0).

`pip install magika` brings an ONNX network of 214 classes, its settings, and the tool around it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import magika
import msgspec
import numpy as np
from numpy.typing import NDArray

MODEL = "magika"
ROUTE = f"/v2/models/{MODEL}/infer"
INPUT, OUTPUT = "bytes", "target_label"

Tokens = NDArray[np.int32]
"""What the network sees of a file: bytes, and a number above them for padding."""


class Settings(msgspec.Struct, frozen=True):
    """The package's `config.min.json`, as far as it says what goes in and what is made of what comes out."""

    beg_size: int
    end_size: int
    block_size: int
    padding_token: int
    min_file_size_for_dl: int
    target_labels_space: tuple[str, ...]
    overwrite_map: dict[str, str]
    thresholds: dict[str, float]
    medium_confidence_threshold: float


class _ContentType(msgspec.Struct, frozen=True):
    is_text: bool


class FileTypes:
    """The package as its users have it, taken apart so that its network can be somewhere else.

    Attributes:
        network: the file of the network.
        settings: what surrounds it.
    """

    def __init__(self) -> None:
        self._tool = magika.Magika()
        package = Path(magika.__file__).parent
        self.network = package / "models" / self._tool.get_model_name() / "model.onnx"
        self.settings = msgspec.json.decode(self.network.with_name("config.min.json").read_bytes(), type=Settings)
        self._types = msgspec.json.decode((package / "config" / "content_types_kb.min.json").read_bytes(),
                                          type=dict[str, _ContentType])

    def session(self) -> Any:
        """The network, loaded: its cost is one core's."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(self.network, options, providers=["CPUExecutionProvider"])

    def tokens(self, content: bytes) -> Tokens | None:
        """A file's first and last bytes, without the space around them; None where they are too few to tell."""
        of = self.settings
        first = content[:of.block_size].lstrip()[:of.beg_size]
        last = content[-of.block_size:].rstrip()[-of.end_size:]
        if len(first) < of.min_file_size_for_dl:
            return None
        row = np.full(of.beg_size + of.end_size, of.padding_token, dtype=np.int32)
        row[:len(first)] = np.frombuffer(first, dtype=np.uint8)
        row[len(row) - len(last):] = np.frombuffer(last, dtype=np.uint8)
        return row

    def told(self, label: int, score: float) -> str:
        """What the tool tells for the network's label: that, or less where its score is low for it."""
        of = self.settings
        own = of.target_labels_space[label]
        name = of.overwrite_map.get(own, own)
        if score >= of.thresholds.get(own, of.medium_confidence_threshold):
            return name
        return "txt" if self._types[name].is_text else "unknown"

    def told_by_tool(self, content: bytes) -> str:
        """What the tool itself tells of a file, with its network beside it."""
        return str(self._tool.identify_bytes(content).prediction.output.label)
