"""`llm-timecycle generate --interactive`: answers prompts and commands, line by line.

Texts go to stdout, everything else to stderr.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Iterator

import click
import numpy as np

from llm_timecycle.cli.printing import escape_controls, print_text
from llm_timecycle.cli.prompting.line_input import Interruption, make_line_reader
from llm_timecycle.cli.prompting.prompts import show_prompt
from llm_timecycle.config.sections import find_value_type
from llm_timecycle.config.settings import GenerationSettings
from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.config.yaml_nodes import parse_yaml, resolve_scalar, to_python
from llm_timecycle.errors import ConfigError, DataError, UsageError
from llm_timecycle.generation.decoding import Decoder
from llm_timecycle.generation.engines.engine import Engine
from llm_timecycle.generation.generator import TextGenerator, describe_unknown_tokens
from llm_timecycle.generation.latency import GenerationTimes
from llm_timecycle.generation.options import override_settings
from llm_timecycle.generation.sampling.pipeline import rank_tokens
from llm_timecycle.generation.sampling.token_ids import make_plan
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

LEAVING = ("quit", "exit")
CHOICES = 10
HELP = """\
Type the start of a text and the model continues it. An empty line starts a new text.
Ctrl-C stops a text.

/continue           continue the last text
/retry              another sample for the last prompt
/choices            the ten most likely next tokens; then a number picks one, and the
                    text goes on from there. /choices TEXT begins with that text
/settings           show all settings
/temperature 0.7    change a setting, or show it if no value is given; null removes a
                    limit, a seed or a list. The settings are
                    {names}
/stats              timings of the last text
/help               show this help
/quit               leave; Ctrl-D does the same

To start a prompt with /, type //"""


class PromptLoop:
    """Reads prompts and commands until the end of the input, and answers each.

    Args:
        engine, tokenizer: the model.
        settings: how to sample, until a command changes it.
        read_lines: yields the input lines; None reads the terminal or standard input.
        now: a monotonic clock, in seconds.

    Raises UsageError if the settings do not fit the model, or standard input is closed.
    """

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        settings: GenerationSettings,
        *,
        read_lines: Callable[[], Iterator[str]] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine, self._tokenizer, self._settings = engine, tokenizer, settings
        make_plan(settings, tokenizer)  # an error now, not after the first prompt
        self._now = now
        self._prompt: str | None = None
        self._sample = 0  # its number, for this prompt
        self._decoder: Decoder | None = None
        self._times: GenerationTimes | None = None
        self._seed: int | None = None
        self._choices: list[int] = []  # tokens to pick from, until a line does something else
        self._commands: dict[str, Callable[[], None]] = {
            "continue": self._continue,
            "retry": self._retry,
            "settings": self._show_settings,
            "stats": self._show_stats,
            "help": self._show_help,
        }
        self._read_lines = read_lines or make_line_reader(self._list_commands())

    def run(self) -> None:
        """Answer every line; return at the end of the input, or at /quit."""
        for line in self._read_lines():
            if line.strip().lower() in [f"/{word}" for word in LEAVING]:
                return
            try:
                self._answer(line)
            except (UsageError, DataError) as error:
                _tell(f"Error: {error}")
            except KeyboardInterrupt:  # a second one, before the token was complete
                self._decoder = None
                click.echo()
                _tell("Stopped; this text cannot be continued.")

    def _answer(self, line: str) -> None:
        choices, self._choices = self._choices, []
        try:
            self._follow(line, choices)
        except (UsageError, DataError):
            self._choices = choices  # an error changes nothing: the next number may pick one
            raise

    def _follow(self, line: str, choices: list[int]) -> None:
        if choices and line.strip().isdecimal():
            self._pick(choices, int(line))
            return
        is_command = line.startswith("/") and not line.startswith("//")
        if is_command:
            name, _, value = line[1:].strip().partition(" ")
            self._obey(name.replace("-", "_").lower(), value.strip())
        else:
            self._begin(line[1:] if line.startswith("//") else line)

    def _obey(self, name: str, value: str) -> None:
        if name == "choices":
            self._show_choices(value)
        elif name in self._commands:
            if value:
                raise UsageError(f"/{name} takes no value; received {value!r}")
            self._commands[name]()
        elif name in GenerationSettings.model_fields:
            if value:
                self._set(name, value)
            _tell(f"{name}: {_show_value(getattr(self._settings, name))}")
        else:
            names = self._list_names()
            longer = [full for full in names if name and full.startswith(name)]
            nearest = longer[0] if longer else find_nearest(name, names)
            hint = f"did you mean /{nearest}?" if nearest else "/help lists the commands"
            raise UsageError(f"there is no command /{name}; {hint}")

    def _set(self, name: str, text: str) -> None:
        changed = override_settings(
            self._settings,
            {name: _read_value(name, text)},
            lambda key: f"/{key}",
            _write_value,
        )
        make_plan(changed, self._tokenizer, lambda name: f"/{name}")
        self._settings = changed

    def _begin(self, prompt: str) -> None:
        """Generate a text for a new prompt."""
        self._prompt, self._sample = prompt, 0
        if warning := describe_unknown_tokens(self._tokenizer, prompt):
            _tell(f"Warning: {warning}")
        self._generate()

    def _retry(self) -> None:
        if self._prompt is None:
            raise UsageError("/retry repeats the last prompt, and there is none yet: type one")
        self._sample += 1
        self._generate()

    def _generate(self) -> None:
        """Generate and print the current sample for the prompt."""
        prompt = self._prompt or ""
        generator = TextGenerator(self._engine, self._tokenizer, self._settings, now=self._now)
        self._decoder = None
        with Interruption() as interruption:
            try:
                print_text(show_prompt(prompt, self._tokenizer), nl=False)
                if self._settings.beams > 1:
                    print_text(generator.generate(prompt)[0].text)
                    self._times = generator.times
                    return
                decoder = generator.begin(prompt, first_sample=self._sample, is_final=False)
            except KeyboardInterrupt:
                click.echo()
                _tell("Stopped before the first token.")
                return
            self._seed = decoder.seed
            self._write_out(decoder, interruption)

    def _continue(self) -> None:
        if self._decoder is None:
            raise UsageError("/continue needs a sampled text to continue, and there is none yet")
        with Interruption() as interruption:
            self._decoder.resume(make_plan(self._settings, self._tokenizer))
            self._write_out(self._decoder, interruption)

    def _show_choices(self, value: str) -> None:
        """List the likeliest next tokens, or pick one of them by its number.

        Args:
            value: nothing; a number; or a text to begin with.
        """
        if value and not value.isdecimal():
            self._begin_by_hand(value)
        decoder = self._decoder
        if decoder is None:
            raise UsageError("/choices needs a sampled text, and there is none yet: type a prompt")
        plan, size = make_plan(self._settings, self._tokenizer), self._tokenizer.vocab_size
        listed = min(CHOICES + len(plan.banned), size)
        ((ids,), (logprobs,)) = rank_tokens(decoder.read_choices()[np.newaxis], listed)
        allowed = [place for place, id in enumerate(ids.tolist()) if id not in plan.banned]
        choices = ids[allowed[:CHOICES]].tolist()
        if value.isdecimal():
            self._pick(choices, int(value))
            return
        for number, (id, place) in enumerate(zip(choices, allowed, strict=False), 1):
            share = f"{100 * np.exp(logprobs[place]):6.2f} %"
            _tell(f'{number:>2} {share}  "{self._tokenizer.token(id)}"')
        self._choices = choices

    def _begin_by_hand(self, prompt: str) -> None:
        """Read a new prompt, and generate nothing yet."""
        if self._settings.beams > 1:
            raise UsageError("/choices picks tokens one by one, a beam search does not: /beams 1")
        if warning := describe_unknown_tokens(self._tokenizer, prompt):
            _tell(f"Warning: {warning}")
        generator = TextGenerator(self._engine, self._tokenizer, self._settings, now=self._now)
        self._decoder = None
        self._decoder = generator.begin(prompt, is_final=False)
        self._prompt, self._sample = prompt, 0
        self._times, self._seed = None, self._decoder.seed

    def _pick(self, choices: list[int], number: int) -> None:
        """Continue the last text with the token of this number."""
        assert self._decoder is not None, "choices are listed for a text only"
        if not 1 <= number <= len(choices):
            raise UsageError(f"/choices: received {number}; expected 1 to {len(choices)}")
        with Interruption() as interruption:
            interruption.is_noted_only = True
            self._decoder.resume(make_plan(self._settings, self._tokenizer))
            self._decoder.choose(choices[number - 1])
            print_text(self._decoder.samples[0].pieces[-1], nl=False)
            self._write_out(self._decoder, interruption)

    def _write_out(self, decoder: Decoder, interruption: Interruption) -> None:
        """Print the text as it grows, until it ends or Ctrl-C; /continue can resume it."""
        interruption.is_noted_only = True  # a text can be resumed only between two tokens
        (sample,) = decoder.samples
        for _ in decoder.advance():
            if piece := sample.pieces[-1]:
                print_text(piece, nl=False)
            if interruption.has_come:
                break
        click.echo()
        self._decoder, self._times = decoder, decoder.measure()

    def _show_settings(self) -> None:
        for name, value in self._settings.model_dump().items():
            _tell(f"{name}: {_show_value(value)}")

    def _show_stats(self) -> None:
        times = self._times
        if times is None:
            raise UsageError("/stats shows the last text, and there is none yet: type a prompt")
        figures = {
            "prompt": _write_rate(times.prompt_tokens, times.prompt_tokens_per_s),
            "first token": _write_ms(times.first_token_s),
            "each token after it": (
                f"{_write_ms(times.token_median_s)} median, {_write_ms(times.token_p95_s)} 95 %, "
                f"{_write_ms(times.token_p99_s)} 99 %"
            ),
            "text": _write_rate(times.tokens, times.tokens_per_s),
        }
        if self._decoder is not None:
            figures["ended by"] = self._decoder.samples[0].finish_reason or "Ctrl-C"
            figures["seed"] = f"{self._seed}, sample {self._sample + 1}"
        for name, figure in figures.items():
            _tell(f"{name:20} {figure}")

    def _show_help(self) -> None:
        names = textwrap.wrap(", ".join(GenerationSettings.model_fields), 60)
        _tell(HELP.format(names=f"\n{' ' * 20}".join(names)))

    def _list_names(self) -> list[str]:
        return [*self._commands, "choices", *LEAVING, *GenerationSettings.model_fields]

    def _list_commands(self) -> list[str]:
        return [f"/{name}" for name in self._list_names()]


def _read_value(name: str, text: str) -> object:
    """The value, written as in a settings file; a single text or TOKEN=VALUE needs no quotes."""
    kind = find_value_type("generation", name)
    if kind not in (list, dict):
        return resolve_scalar(text)
    if text == "null":
        return kind()
    if text[0] not in "\"'[{":
        if kind is list:
            return [text]
        token, _, number = text.rpartition("=")
        if token == "":
            raise UsageError(f"/{name}: received {text!r}; expected TOKEN=VALUE, such as the=2.5")
        return {token: resolve_scalar(number)}
    try:
        node = parse_yaml(text, f"/{name}", is_override=True)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    value = None if node is None else to_python(node)
    return [value] if isinstance(value, str) else value


def _write_value(value: object) -> str:
    """A value as the user types it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show_value(value: object) -> str:
    """A value as the loop shows it."""
    if isinstance(value, dict):
        return ", ".join(f"{token!r}={added:g}" for token, added in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(repr, value)) or "none"
    return "none" if value is None else _write_value(value)


def _write_rate(tokens: int, rate_tokens_per_s: float | None) -> str:
    rate = "" if rate_tokens_per_s is None else f", {rate_tokens_per_s:,.0f} tokens/s"
    return f"{tokens:,} tokens{rate}"


def _write_ms(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1e3 * seconds:.2f} ms"


def _tell(message: str) -> None:
    click.echo(escape_controls(message), err=True)
