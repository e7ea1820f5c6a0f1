"""A text as a source of settings: look at it, time this machine, choose, and say why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from llm_timecycle.config.dump import write_value
from llm_timecycle.config.load import LoadedSettings, check_sources, list_given
from llm_timecycle.config.locate import name_after
from llm_timecycle.config.python_values import PythonValues
from llm_timecycle.config.settings import TrainingSettings
from llm_timecycle.config.sources import Source
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.survey import TextFacts, survey_text
from llm_timecycle.training.suggest.choices import write_count
from llm_timecycle.training.suggest.choose import choose, choose_text_side
from llm_timecycle.training.suggest.predict import MachineSpeed

log = logging.getLogger("llm_timecycle")


def suggest_settings(
    texts: Sequence[str | Path],
    minutes: float | None,
    values: Sequence[Source],
    *,
    cache: Path,
    show_progress: bool = False,
) -> LoadedSettings:
    """Settings for a text; each choice has its reason as a comment, and is logged with it.

    Args:
        texts: what `data.train` may be, one or more.
        minutes: the most that training may take; None takes the default.
        values: what is given; it comes before every choice, and the choices suit it.
        cache: for the extracted text of python-docs.
        show_progress: whether to show progress bars on stderr.

    Raises:
        ConfigError: what is given is wrong, `minutes` included.
        DataError: the text is missing, unreadable or too short.
    """
    names = [str(text) for text in texts]
    text = PythonValues({"data.train": names if len(names) > 1 else names[0]}, "the text")
    limit = [] if minutes is None else [PythonValues({"training.minutes": minutes}, "minutes")]
    fixed, given = check_sources([text, *limit, *values], names[0]), list_given(values)
    corpus = open_corpus(fixed.data.train, Path.cwd(), cache, show_progress, fixed.data)
    facts = survey_text(corpus)
    lanes = choose_text_side(facts, fixed, given).read("training.batch_size")
    speed = _measure_speed(fixed.training.model_copy(update={"batch_size": lanes}))
    suggestion = choose(facts, speed, fixed, given)
    chosen = PythonValues(suggestion.values, "the suggestion")
    settings = check_sources([chosen, text, *values], names[0])
    comments = {"data.train": describe_text(facts), **suggestion.reasons}
    for section, keys in settings.model_dump().items():
        for key, value in keys.items():
            if reason := comments.get(f"{section}.{key}"):
                log.info("%s: %s (%s)", f"{section}.{key}", write_value(value), reason)
    name = name_after(names[0])
    return LoadedSettings(settings, name, Path.cwd(), Path(f"{name}.yaml"), comments)


def describe_text(facts: TextFacts) -> str:
    """One line about a text."""
    line = (
        f"{facts.bytes / 1e6:,.2f} MB, {facts.characters:,} characters, "
        f"{write_count(facts.distinct_characters, 'different one')}, mostly {facts.script}; "
        f"{write_count(facts.words, 'word')}, {write_count(facts.lines, 'line')}; zlib leaves "
        f"{100 * facts.compressed_fraction:.0f}%"
    )
    return line if facts.sampled_fraction == 1 else f"{line} (sampled)"


def _measure_speed(training: TrainingSettings) -> MachineSpeed:
    from llm_timecycle.model.tf_import import import_tensorflow

    import_tensorflow()
    from llm_timecycle.system import count_cores
    from llm_timecycle.training.devices import measure_products

    precision, rate = measure_products(training)
    return MachineSpeed(precision, rate, training.threads or count_cores())
