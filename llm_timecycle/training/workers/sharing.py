"""What the chief tells the other workers: settings, vocabulary, checkpoint, plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm_timecycle.config.settings import Settings
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer
from llm_timecycle.training.checkpoints import Checkpoint
from llm_timecycle.training.progress import Progress
from llm_timecycle.training.state import TrainState
from llm_timecycle.training.workers.workers import Workers


@dataclass(frozen=True)
class Briefing:
    """What another worker needs to train the chief's run: it may not have its directory."""

    settings: Settings
    """As resolved: threads, precision and learning rate are those that the chief has chosen."""
    tokenizer: Tokenizer
    corpora: Mapping[str, Any]
    """What the run knows of each text (`training.resuming.describe_text`)."""
    plans: Sequence[Mapping[str, Any]] = ()
    """Those of the run so far, as its manifest has them."""

    def to_json(self) -> bytes:
        """As it is sent."""
        content = {
            "settings": self.settings.model_dump(mode="json"),
            "tokenizer": self.tokenizer.to_json(),
            "corpora": self.corpora,
            "plans": list(self.plans),
        }
        return json.dumps(content).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Briefing:
        """The inverse of `to_json`."""
        values = json.loads(content)
        settings = Settings(**values["settings"])
        tokenizer = Tokenizer.parse(
            values["tokenizer"].encode(),
            "the tokenizer of the chief",
            settings.tokenizer,
            documents=settings.data.documents,
            normalize=settings.data.normalize,
        )
        return cls(settings, tokenizer, values["corpora"], values["plans"])


def share_checkpoint(
    workers: Workers,
    read: Callable[[], Checkpoint | None],
    train_state: TrainState,
    shapes: Mapping[str, tuple[int, ...]],
) -> Checkpoint | None:
    """The checkpoint that the chief reads, for every worker.

    Where there is none, every worker gets the chief's fresh variables.

    Args:
        read: reads it, on the chief. train_state: whose variables have the types of the tensors.
        shapes: of its tensors.
    """
    if workers.size == 1:
        return read()
    with workers.together("reading the checkpoint"):
        checkpoint = read() if workers.is_chief else None
    found = b"" if checkpoint is None else json.dumps(checkpoint.progress.to_dict()).encode()
    progress = workers.send(found)
    variables = train_state.read_variables()
    if not progress:
        for name, value in workers.send_tensors(variables).items():
            train_state.list_variables()[name].assign(value)
        return None
    types = {name: variables[name].dtype if name in variables else np.float32 for name in shapes}
    tensors = {name: np.zeros(shape, types[name]) for name, shape in shapes.items()}
    if checkpoint is not None:
        tensors |= {name: np.asarray(checkpoint.tensors[name]) for name in shapes}
    sent = workers.send_tensors(tensors)
    return Checkpoint(Progress.from_dict(json.loads(progress)), sent)
