"""How a dialogue is written as text: two ways that files with dialogues really have.

`names`: each turn begins with the name of who speaks, and may have several lines.

    User: Is the shop open?
    Assistant: Until six.

`lines`: each turn is a line, as in files of subtitles and of conversations.

    Is the shop open?
    Until six.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llm_timecycle.errors import UsageError
from llm_timecycle.serving.errors import refuse_field, show
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

USER, ASSISTANT, SYSTEM = "User", "Assistant", ""
ROLES = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM, "developer": SYSTEM}
"""The roles of the protocol, with the name that `names` gives each; instructions have none."""


@dataclass(frozen=True)
class Message:
    """One turn of a dialogue."""

    role: str
    """A key of ROLES."""
    content: str
    name: str | None = None
    """Who speaks, where it is not the name of the role."""

    @property
    def speaker(self) -> str:
        """The name before the turn."""
        return self.name or ROLES[self.role]


class ChatTemplate(Protocol):
    """Turns a dialogue into a prompt, and knows where the answer ends."""

    name: str

    def write_prompt(self, messages: Sequence[Message]) -> str:
        """The text that the answer continues.

        Raises ApiError for a message that cannot be written so.
        """

    def list_stops(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """The texts at which the answer ends."""


class NamesTemplate:
    """`User: ...` and `Assistant: ...`; a message may give another name.

    >>> dialogue = [Message("system", "A shop."), Message("user", "Is it open?", "Ada")]
    >>> print(NamesTemplate().write_prompt(dialogue))
    A shop.
    Ada: Is it open?
    Assistant:
    >>> NamesTemplate().list_stops(dialogue)
    ('\\nUser:', '\\nAssistant:', '\\nAda:')
    """

    name = "names"

    def write_prompt(self, messages: Sequence[Message]) -> str:
        """The turns, and the name of the one who answers."""
        speakers = [message.speaker for message in messages if message.role == "assistant"]
        last = speakers[-1] if speakers else ASSISTANT
        return "".join(f"{self._write_turn(message)}\n" for message in messages) + f"{last}:"

    def list_stops(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """The names, each at the beginning of a line."""
        speakers = [message.speaker for message in messages]
        names = dict.fromkeys((USER, ASSISTANT, *speakers))
        return tuple(f"\n{name}:" for name in names if name)

    def _write_turn(self, message: Message) -> str:
        return f"{message.speaker}: {message.content}" if message.speaker else message.content


class LinesTemplate:
    """A line for each turn, whoever speaks.

    >>> LinesTemplate().write_prompt([Message("user", "Is it open?")])
    'Is it open?\\n'
    """

    name = "lines"

    def write_prompt(self, messages: Sequence[Message]) -> str:
        """The turns, each with the end of its line."""
        for number, message in enumerate(messages):
            if len(message.content.splitlines()) > 1:
                raise refuse_field(
                    f"messages[{number}].content",
                    message.content,
                    "one line: in the chat template of this server, a line is a turn",
                )
        return "".join(f"{message.content.strip()}\n" for message in messages)

    def list_stops(self, messages: Sequence[Message]) -> tuple[str, ...]:
        """The end of the line."""
        return ("\n",)


TEMPLATES: dict[str, ChatTemplate] = {
    template.name: template for template in (NamesTemplate(), LinesTemplate())
}


def read_stops(tokenizer: Tokenizer, stops: Sequence[str]) -> tuple[str, ...]:
    """The stop texts as this model writes them: in lower case, where it knows no other."""
    return tuple(tokenizer.decode(tokenizer.encode(stop)) for stop in stops)


def check_template(template: ChatTemplate, tokenizer: Tokenizer, model: str) -> None:
    """Raise UsageError if a model cannot write what the template waits for."""
    stops = template.list_stops([])
    unknown = dict.fromkeys(name for stop in stops for name in tokenizer.unknown_tokens(stop))
    if unknown:
        named = ", ".join(map(show, unknown))
        raise UsageError(
            f"the chat template {template.name} does not suit {model}: {named} did not occur in "
            f"its training text. Choose the template of the dialogues that it was trained on"
        )
    if not all("\n" in stop for stop in read_stops(tokenizer, stops)):
        raise UsageError(
            f"the chat template {template.name} does not suit {model}: the model writes no line "
            f"breaks, so no turn would end. Train it with data.documents: paragraph or file, and "
            f"at level: word with word_split: unicode"
        )
