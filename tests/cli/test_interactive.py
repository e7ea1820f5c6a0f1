"""The prompt loop of `generate --interactive`: what each line does."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from llm_timecycle.cli.prompting.interactive import PromptLoop
from llm_timecycle.config.settings import (
    GenerationSettings,
)
from llm_timecycle.errors import UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.runs.directory import Run
from tests.cli.random_runs import generate_directly, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "char", "char", "abc defg./中文")


Converse = Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def converse(run: Run, capsys: pytest.CaptureFixture[str]) -> Converse:
    """Give lines to a prompt loop; the lines that it prints on stdout and on stderr."""

    def give_lines(*lines: str, **settings: object) -> tuple[list[str], list[str]]:
        merged = GenerationSettings(**run.settings.generation.model_dump() | settings)
        tokenizer = run.load_tokenizer()
        engine = NumpyEngine(run.load_weights(), run.settings.model)
        PromptLoop(engine, tokenizer, merged, read_lines=lambda: iter(lines)).run()
        printed = capsys.readouterr()
        return printed.out.splitlines(), printed.err.splitlines()

    return give_lines


def test_each_line_is_a_prompt_and_an_empty_one_starts_a_text(run: Run, converse: Converse) -> None:
    (first,), (second,), (third,) = (
        generate_directly(run, "abc"),
        generate_directly(run, ""),
        generate_directly(run, "中"),
    )
    assert converse("abc", "", "中") == ([f"abc{first}", second, f"中{third}"], [])


def test_two_slashes_begin_a_prompt_with_one(run: Run, converse: Converse) -> None:
    (text,) = generate_directly(run, "/a")
    assert converse("//a")[0] == [f"/a{text}"]


def test_a_setting_is_changed_for_what_follows(run: Run, converse: Converse) -> None:
    (text,) = generate_directly(run, "ab", temperature=0.0, length=5, stop=["中", "\n"])
    out, err = converse("/temperature 0", "/length 5", '/stop ["中", "\\n"]', "ab")
    assert out == [f"ab{text}"]
    assert err == ["temperature: 0.0", "length: 5", "stop: '中', '\\n'"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/temperature", "temperature: 1.0"),
        ("/TEMPERATURE 0.5", "temperature: 0.5"),
        ("/top-k 7", "top_k: 7"),
        ("/top_k null", "top_k: none"),
        ("/stop ab", "stop: 'ab'"),
        ("/stop 5", "stop: '5'"),
        ('/stop "a b"', "stop: 'a b'"),
        ("/stop null", "stop: none"),
        ("/ban 中", "ban: '中'"),
        ("/bias a=2.5", "bias: 'a'=2.5"),
        ("/bias {a: 1, 中: -2}", "bias: 'a'=1, '中'=-2"),
        ("/bias null", "bias: none"),
        ("/allow_unknown true", "allow_unknown: true"),
        ("/seed null", "seed: none"),
        ("/seed 5", "seed: 5"),
        ("/beams 2", "beams: 2"),
    ],
)
def test_every_setting_has_its_command(converse: Converse, line: str, shown: str) -> None:
    assert converse(line) == ([], [shown])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("/temprature 1", "there is no command /temprature; did you mean /temperature?"),
        ("/temp 1", "there is no command /temp; did you mean /temperature?"),
        ("/contine", "there is no command /contine; did you mean /continue?"),
        ("/exxit", "there is no command /exxit; did you mean /exit?"),
        ("/quitt", "there is no command /quitt; did you mean /quit?"),
        ("/", "there is no command /; /help lists the commands"),
        ("/qqq", "there is no command /qqq; /help lists the commands"),
        ("/temperature hot", "/temperature: received hot; expected a number from 0 to 100"),
        ("/length 0", "/length: received 0; expected a whole number from 1 to 1000000000"),
        ("/length", "length: 12"),
        ("/length null", "/length: received null; expected a whole number from 1 to 1000000000"),
        ("/length TRUE", "/length: received true; expected a whole number from 1 to 1000000000"),
        ("/seed 1.5", "/seed: received 1.5; expected a whole number from 0 to"),
        ('/stop ""', "/stop: received an empty text; expected at least one character"),
        ("/stop [a", "/stop: the bracket that opens here is not closed"),
        ("/ban q", "ban: received 'q', which the model does not know; expected one token"),
        ("/bias a", "/bias: received 'a'; expected TOKEN=VALUE, such as the=2.5"),
        ("/bias a=b", "/bias: received a=b; expected a mapping from text to a number"),
        ("/retry 3", "/retry takes no value; received '3'"),
        ("/retry", "/retry repeats the last prompt, and there is none yet"),
        ("/continue", "/continue needs a sampled text to continue, and there is none yet"),
        ("/stats", "/stats shows the last text, and there is none yet"),
        ("caf\udce9", "the text is not valid Unicode: U+DCE9 at character 3"),
    ],
)
def test_an_error_is_one_line_and_changes_nothing(
    converse: Converse, line: str, shown: str
) -> None:
    _, err = converse(line, "/temperature")
    assert len(err) == 2
    assert shown in err[0]
    assert err[1] == "temperature: 1.0"  # what was wrong changed nothing


def test_a_setting_without_effect_under_beams_is_refused(converse: Converse) -> None:
    _, err = converse("/beams 3", "/top_k 5", "/top_k")
    assert err[1].startswith("Error: /top_k has no effect with /beams 3")
    assert err[2] == "top_k: none"


def test_unknown_tokens_are_a_warning(converse: Converse) -> None:
    _, err = converse("axb")
    assert len(err) == 1
    assert err[0].startswith("Warning: the prompt contains 1 token that the model does not know")
    assert err[0].endswith(": 'x'")


def test_continue_resumes_where_the_text_ended(run: Run, converse: Converse) -> None:
    (whole,) = generate_directly(run, "ab", length=24)
    assert converse("ab", "/continue")[0] == [f"ab{whole[:12]}", whole[12:]]


def test_retry_gives_the_next_sample_of_the_seed(run: Run, converse: Converse) -> None:
    texts = generate_directly(run, "ab", samples=3)
    assert converse("ab", "/retry", "/retry", "ab")[0] == [f"ab{n}" for n in [*texts, texts[0]]]


def test_a_beam_search_is_printed_whole_and_cannot_go_on(run: Run, converse: Converse) -> None:
    (best,) = generate_directly(run, "ab", beams=3)
    out, err = converse("/beams 3", "ab", "/continue", "/stats")
    assert out == [f"ab{best}"]
    assert err[1].startswith("Error: /continue needs a sampled text to continue")
    assert err[2].startswith("prompt               2 tokens, ")


def test_stats_are_those_of_the_last_text(converse: Converse) -> None:
    _, err = converse("abc", "/retry", "/stats")
    names = [line[:20].strip() for line in err]
    assert names == ["prompt", "first token", "each token after it", "text", "ended by", "seed"]
    assert re.fullmatch(r"prompt +3 tokens, [\d,]+ tokens/s", err[0])
    assert re.fullmatch(r"each token after it +[\d.]+ ms median, [\d.]+ ms 95 %, .*", err[2])
    assert re.fullmatch(r"text +12 tokens, [\d,]+ tokens/s", err[3])
    assert err[4].split() == ["ended", "by", "length"]
    assert err[5].split() == ["seed", "3,", "sample", "2"]


def test_help_names_every_setting_and_settings_shows_it(converse: Converse) -> None:
    _, help_lines = converse("/help")
    _, shown = converse("/settings")
    for name in GenerationSettings.model_fields:
        assert re.search(rf"\b{name}\b", "\n".join(help_lines))
    assert [line.split(":")[0] for line in shown] == list(GenerationSettings.model_fields)
    assert max(map(len, help_lines)) <= 90


@pytest.mark.parametrize("leave", ["/quit", "/exit", " /quit "])
def test_quit_leaves(converse: Converse, leave: str) -> None:
    assert converse(leave, "abc") == ([], [])


def test_wrong_settings_are_an_error_before_the_first_prompt(converse: Converse) -> None:
    with pytest.raises(UsageError, match="ban: received 'q'"):
        converse("abc", ban=["q"])


def list_choices(run: Run, prompt: str) -> list[str]:
    """The ids' texts, likeliest first, of what may follow; <unk> is never generated."""
    tokenizer = run.load_tokenizer()
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    (logits,) = engine.prefill(tokenizer.encode(prompt)[np.newaxis].astype(np.int64))
    ordered = np.argsort(-logits, kind="stable").tolist()
    return [tokenizer.token(id) for id in ordered if id != tokenizer.unk_id][:10]


def test_choices_are_the_likeliest_tokens_after_the_last_text(run: Run, converse: Converse) -> None:
    (text,) = generate_directly(run, "ab")
    _, err = converse("ab", "/choices")
    expected = list_choices(run, f"ab{text}")
    assert [line.split('"')[1] for line in err] == expected
    assert [int(line.split()[0]) for line in err] == list(range(1, len(expected) + 1))
    shares = [float(line.split()[1]) for line in err]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100.1


@pytest.mark.parametrize("pick", [["/choices", "2"], ["/choices 2"]])
def test_a_number_picks_one_and_the_text_goes_on(
    run: Run, converse: Converse, pick: list[str]
) -> None:
    (text,) = generate_directly(run, "ab", temperature=0.0)
    chosen = list_choices(run, f"ab{text}")[1]
    (after,) = generate_directly(run, f"ab{text}{chosen}", length=11, temperature=0.0)
    out, _ = converse("/temperature 0", "ab", *pick)
    assert out == [f"ab{text}", f"{chosen}{after}"]


def test_choices_of_a_text_begin_with_it(run: Run, converse: Converse) -> None:
    expected = list_choices(run, "abc")
    (after,) = generate_directly(run, f"abc{expected[0]}", length=11, temperature=0.0)
    out, err = converse("/temperature 0", "/choices abc", "1", "/stats")
    assert [line.split('"')[1] for line in err[1:11]] == expected
    assert out == [f"{expected[0]}{after}"]
    assert "text                 12 tokens" in err[14]


@pytest.mark.parametrize("wrong", ["11", "0", "/choices 11", "/choises"])
def test_a_wrong_line_does_not_take_the_choices_away(converse: Converse, wrong: str) -> None:
    expected, _ = converse("ab", "/choices", "3")
    out, err = converse("ab", "/choices", wrong, "3")
    assert out == expected
    assert err[-1].startswith("Error: ")


def test_a_number_is_a_prompt_again_after_any_other_line(run: Run, converse: Converse) -> None:
    out, _ = converse("/length 1", "a", "/choices", "/seed", "a", "1")
    assert len(out) == 3
    assert out[2].startswith("1")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["/choices"], "/choices needs a sampled text, and there is none yet: type a prompt"),
        (["/choices 2"], "/choices needs a sampled text"),
        (["a", "/choices 11"], "/choices: received 11; expected 1 to 10"),
        (["a", "/choices 0"], "/choices: received 0; expected 1 to 10"),
        (["/beams 2", "/choices a"], "/choices picks tokens one by one, a beam search does not"),
        (["/beams 2", "a", "/choices"], "/choices needs a sampled text"),
    ],
)
def test_choices_that_there_are_not(converse: Converse, lines: list[str], message: str) -> None:
    _, err = converse(*lines)
    assert err[-1].startswith(f"Error: {message}")
