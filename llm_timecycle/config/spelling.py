"""What beginners mistype in YAML, and what they probably meant.

A line is only examined once something is known to be wrong with it, so correct text is never
refused for its looks.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from llm_timecycle.config.sections import list_section_keys

LOOK_ALIKES = {
    "“": 'a curly quote; YAML wants "',
    "”": 'a curly quote; YAML wants "',
    "„": 'a curly quote; YAML wants "',
    "‘": "a curly quote; YAML wants '",
    "’": "a curly quote; YAML wants '",
    "「": 'a corner bracket; YAML wants the quote "',
    "」": 'a corner bracket; YAML wants the quote "',
    "、": "an ideographic comma; YAML wants , and a space",
    "【": "a full-width bracket; YAML wants [",
    "】": "a full-width bracket; YAML wants ]",
    "−": "a minus sign from typography; YAML wants -",
    "–": "a dash; YAML wants -",
    "—": "a dash; YAML wants -",
    "\u00a0": "a no-break space; YAML wants a plain space",
    "\u3000": "a full-width space; YAML wants a plain space",
}

# What other programs call the same settings.
SYNONYMS = {
    "lr": "training.learning_rate",
    "num_epochs": "training.epochs",
    "steps": "training.max_steps",
    "bptt": "training.sequence_length",
    "seq_len": "training.sequence_length",
    "seq_length": "training.sequence_length",
    "clip": "training.gradient_clip_norm",
    "clipnorm": "training.gradient_clip_norm",
    "max_grad_norm": "training.gradient_clip_norm",
    "warmup": "training.warmup_steps",
    "early_stopping": "training.patience",
    "hidden_size": "model.hidden_units",
    "rnn_size": "model.hidden_units",
    "units": "model.hidden_units",
    "layers": "model.num_layers",
    "n_layers": "model.num_layers",
    "embedding_size": "model.embedding_dim",
    "emsize": "model.embedding_dim",
    "tied": "model.tie_embeddings",
    "tie_weights": "model.tie_embeddings",
    "vocabulary_size": "tokenizer.vocab_size",
    "max_length": "generation.length",
    "max_new_tokens": "generation.length",
}


class Misspelling(NamedTuple):
    """Something that looks mistyped, and where (lines and columns count from 1).

    What begins there would be read as text if it was in quotes: `text`, where that may be meant.
    """

    line: int
    column: int
    explanation: str
    text: str = ""

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.explanation}"


def find_misspelling(lines: Sequence[str], first_number: int) -> Misspelling | None:
    """The first thing in `lines` that looks mistyped, or None.

    >>> print(find_misspelling(["  epochs：3"], 7))
    line 7, column 9: "：" is a full-width character; YAML wants ": "
    """
    for number, line in enumerate(lines, first_number):
        text = re.sub(r"(?:^|\s)#.*", "", line)
        if tab := re.match(r" *\t", text):
            return Misspelling(number, tab.end(), "a tab; YAML is indented with spaces")
        for column, character in enumerate(text, 1):
            if reason := _explain_look_alike(character):
                return Misspelling(number, column, f'"{character}" is {reason}')
        glued = re.search(r"(?:^|[{,]) *([A-Za-z_]+):(?=[^\s])", text)
        if glued and glued[1] in _list_all_names():
            explanation = f'a space is missing after "{glued[1]}:"; write "{glued[1]}: ..."'
            return Misspelling(number, glued.end(), explanation)
    return None


def explain_syntax_error(error: Any, lines: Sequence[str], is_override: bool) -> Misspelling:
    """The most probable cause of a YAML syntax error.

    Args:
        error: a `MarkedYAMLError` of ruamel.yaml.
        lines: the text.
        is_override: whether it is the value of an override.
    """
    problem = str(error.problem or error.context)
    mark = error.problem_mark or error.context_mark
    begins_earlier = any(kind in str(error.context) for kind in ("quoted", "flow", "alias"))
    if begins_earlier and error.context_mark is not None:
        mark = error.context_mark
    line, column = mark.line + 1, mark.column + 1

    written = lines[line - 1] if line <= len(lines) else ""
    if written[mark.column : column] == "\t":
        return Misspelling(line, column, "a tab; YAML wants spaces, two for each indentation")
    for number in _list_suspects(lines, line):
        if found := find_misspelling(lines[number - 1 : number], number):
            return found
        if number < line and lines[number - 1].strip() in _list_all_names():
            explanation = f'the ":" is missing after "{lines[number - 1].strip()}"'
            return Misspelling(number, len(lines[number - 1].rstrip()), explanation)
    is_text = is_override and line == 1 and written[:1] not in "[{"
    if is_text and "mapping values are not allowed" in problem:
        return Misspelling(1, 1, 'a second ": " is not allowed here', written)
    if "cannot start any token" in problem or "alias" in str(error.context):
        explanation = f"a value cannot begin with {written[mark.column : column]}"
        return Misspelling(line, column, explanation, _cut_value(written, column))
    return Misspelling(line, column, _explain_reader_words(problem, str(error.context)))


def _cut_value(line: str, column: int) -> str:
    """What is written from a column on: up to the next comma or bracket in a list, or a comment."""
    is_inside = re.search(r"[\[{][^\]}]*\Z", line[: column - 1])
    end = r"[,\]}]" if is_inside else r"\s#"
    return re.split(end, line[column - 1 :])[0].strip()


def find_nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` most probably means, or None.

    >>> find_nearest("Batch-Size", ["batch_size", "epochs"])
    'batch_size'
    """
    known = list(candidates)
    normal = name.strip().lower().replace("-", "_").replace(" ", "_")
    if normal in known:
        return normal
    close = difflib.get_close_matches(normal[:100], known, n=1, cutoff=0.65)
    return close[0] if close else None


def suggest_key(name: str, section: str | None) -> str:
    """What to do about a key that does not exist in `section` (None: at the top of the file)."""
    sections = list_section_keys()
    normal = name.strip().lower().replace("-", "_")
    owners = [owner for owner, keys in sections.items() if normal in keys]
    if section is not None and normal in sections:
        return f"{normal} is a section: write it at the start of a line"
    if section is None and name.count(".") == 1:
        owner, key = name.split(".")
        if key in sections.get(owner, ()):
            return f"write {owner}: on a line, and below it, indented by two spaces, {key}: ..."
    if section is None and (nearest := find_nearest(name, sections)):
        return f"did you mean {nearest}?"
    if section in owners:
        return f"did you mean {normal}?"
    if owners:
        return f"{normal} belongs under {' or '.join(owners)}"
    if section is not None and (nearest := find_nearest(name, sections[section])):
        return f"did you mean {nearest}?"
    every_key = {key: f"{owner}.{key}" for owner, keys in sections.items() for key in keys}
    if (target := SYNONYMS.get(normal)) or (nearest := find_nearest(name, every_key)):
        return f"did you mean {target or every_key[str(nearest)]}?"
    if section is None:
        return f"the sections are {', '.join(sections)}"
    return f"{section} has {', '.join(sections[section])}"


def _explain_look_alike(character: str) -> str | None:
    if reason := LOOK_ALIKES.get(character):
        return reason
    if "\uff01" <= character <= "\uff5e":
        plain = unicodedata.normalize("NFKC", character)
        wanted = f"{plain} " if plain in ":," else plain
        return f'a full-width character; YAML wants "{wanted}"'
    return None


def _list_all_names() -> set[str]:
    sections = list_section_keys()
    return set(sections).union(*sections.values())


def _list_suspects(lines: Sequence[str], line: int) -> list[int]:
    """The line of an error, and the nearest line above it that is more than a comment."""
    for number in range(min(line, len(lines) + 1) - 1, 0, -1):
        if re.match(r"\s*[^\s#]", lines[number - 1]):
            return [line, number]
    return [line]


def _explain_reader_words(problem: str, context: str) -> str:
    """What the YAML reader's message means."""
    if "quoted scalar" in context:
        return "the quote that opens here is never closed"
    if "flow" in context:
        return "the bracket that opens here is not closed, or a comma is missing inside it"
    if "mapping values are not allowed" in problem:
        return (
            'a "key: value" is not allowed here: compare its indentation with the line above, and '
            'put text that contains ": " in quotes'
        )
    if "could not find expected ':'" in problem:
        return 'the line above has no ": " after its key; a setting is written as "key: value"'
    if "<block end>" in problem:
        return (
            "the indentation does not match the lines above: keys of one section begin in the same "
            "column"
        )
    return f"this cannot be read as YAML: {problem}"
