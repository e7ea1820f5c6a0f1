"""The `generate` command on tiny runs with random weights: what it prints where, how it ends."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from llm_timecycle import __version__
from llm_timecycle.cli import generate, prompts
from llm_timecycle.cli.generate import command
from llm_timecycle.config.settings import (
    GenerationSettings,
    ModelSettings,
    Settings,
    TokenizerSettings,
)
from llm_timecycle.config.weight_shapes import compute_parameter_shapes
from llm_timecycle.errors import DataError, RunError, UsageError
from llm_timecycle.generation.engines.numpy_engine import NumpyEngine
from llm_timecycle.generation.generator import TextGenerator
from llm_timecycle.runs.directory import Run, create_run
from llm_timecycle.text.tokenizer.tokenizer import Tokenizer

TEXTS = {"char": "abc defg.\n中文", "word": "once upon a time there was a cat\n"}


def make_run(path: Path, level: str, text: str | None = None, **generation: object) -> Run:
    """A run whose weights are drawn, not trained, and which never ends a text by <eos>."""
    settings = Settings(
        tokenizer=TokenizerSettings(level=level, vocab_size=50),
        model=ModelSettings(embedding_dim=4, num_layers=2, hidden_units=6),
        generation=GenerationSettings(**{"length": 12, "seed": 3, "temperature": 1.0} | generation),
    )
    tokenizer = Tokenizer.train(settings.tokenizer, [text or TEXTS[level]])
    run = create_run(path, settings, tokenizer.to_json().encode(), tokenizer.vocab_size, {})
    rng = np.random.default_rng(5)
    shapes = compute_parameter_shapes(settings.model, tokenizer.vocab_size)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    weights["output.bias"][tokenizer.eos_id] = -1000.0
    run.save_weights(weights, {"step": 0})
    return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    root = tmp_path_factory.mktemp("runs")
    return {level: make_run(root / level, level) for level in TEXTS}


@pytest.fixture
def run(runs: dict[str, Run]) -> Path:
    return runs["char"].path


def call(run: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(command, [str(run), *arguments], input=stdin)


def generate_directly(run: Run, prompt: str, samples: int = 1, **settings: object) -> list[str]:
    """What the parts say, put together without the command."""
    tokenizer = run.load_tokenizer()
    merged = GenerationSettings(**run.settings.generation.model_dump() | settings)
    engine = NumpyEngine(run.load_weights(), run.settings.model)
    texts = TextGenerator(engine, tokenizer, merged).generate(prompt, samples)
    return [text.text for text in texts]


def test_prints_the_prompt_and_what_follows(runs: dict[str, Run]) -> None:
    result = call(runs["char"].path, "--prompt", "abc")
    (text,) = generate_directly(runs["char"], "abc")
    assert (result.stdout, result.stderr, result.exit_code) == (f"abc{text}\n", "", 0)
    assert len(text) == 12


@pytest.mark.parametrize("way", [[], ["--stream"], ["--no-stream"]])
def test_streaming_changes_nothing_but_when(run: Path, way: list[str]) -> None:
    assert call(run, *way).stdout == call(run, "--no-stream").stdout != "\n"


def test_options_take_the_place_of_settings(runs: dict[str, Run]) -> None:
    options = [
        *("--length", "30", "--temperature", "1.5", "--top-k", "7", "--top-p", "0.9"),
        *("--min-p", "0.01", "--repetition-penalty", "1.1", "--seed", "9"),
        *("--typical-p", "0.8", "--presence-penalty", "0.3", "--frequency-penalty", "-0.1"),
        *("--bias", "a=1.5", "--bias", "文=-2", "--ban", "f", "--ban", "\\n", "--allow-unknown"),
        *("--stop", "ab", "--stop", "中"),
    ]
    settings = {
        **{"length": 30, "temperature": 1.5, "top_k": 7, "top_p": 0.9, "min_p": 0.01},
        **{"typical_p": 0.8, "presence_penalty": 0.3, "frequency_penalty": -0.1},
        **{"bias": {"a": 1.5, "文": -2.0}, "ban": ["f", "\n"], "allow_unknown": True},
        **{"repetition_penalty": 1.1, "seed": 9, "stop": ["ab", "中"]},
    }
    (text,) = generate_directly(runs["char"], "abc", **settings)
    assert call(runs["char"].path, "--prompt", "abc", *options).stdout == f"abc{text}\n"


def test_a_beam_search_prints_its_best_texts(runs: dict[str, Run]) -> None:
    settings = {"beams": 3, "length_penalty": 1.5}
    first, second = generate_directly(runs["char"], "ab", 2, **settings)
    options = ["--prompt", "ab", "--beams", "3", "--length-penalty", "1.5"]
    assert call(runs["char"].path, *options).stdout == f"ab{first}\n"
    assert call(runs["char"].path, *options, "--samples", "2").stdout == (
        f"=== sample 1 of 2 ===\nab{first}\n=== sample 2 of 2 ===\nab{second}\n"
    )


def test_a_token_that_holds_an_equals_sign_can_be_biased(tmp_path: Path) -> None:
    run = make_run(tmp_path / "equals", "char", text="a=b")
    assert set(call(run.path, "--bias", "==100").stdout) == {"=", "\n"}


@pytest.mark.parametrize("allow_unknown", [False, True])
def test_a_flag_that_is_not_given_leaves_the_setting_of_the_run(
    tmp_path: Path, allow_unknown: bool
) -> None:
    run = make_run(tmp_path / "run", "char", allow_unknown=allow_unknown)
    report = json.loads(call(run.path, "--json").stdout)
    assert report["settings"]["allow_unknown"] is allow_unknown
    report = json.loads(call(run.path, "--allow-unknown", "--json").stdout)
    assert report["settings"]["allow_unknown"] is True


def test_several_samples_are_numbered(runs: dict[str, Run]) -> None:
    first, second = generate_directly(runs["char"], "ab", 2)
    assert first != second
    assert call(runs["char"].path, "--prompt", "ab", "--samples", "2").stdout == (
        f"=== sample 1 of 2 ===\nab{first}\n=== sample 2 of 2 ===\nab{second}\n"
    )


def test_the_first_sample_is_the_one_that_is_drawn_alone(run: Path) -> None:
    alone = call(run, "--prompt", "ab").stdout
    assert call(run, "--prompt", "ab", "--samples", "3").stdout.startswith(
        f"=== sample 1 of 3 ===\n{alone}"
    )


@pytest.mark.parametrize(
    ("prompt", "shown"), [("once upon \t", "once upon "), ("a cat\n", "a cat\n"), (" ", "")]
)
def test_at_word_level_one_space_joins_prompt_and_text(
    runs: dict[str, Run], prompt: str, shown: str
) -> None:
    (text,) = generate_directly(runs["word"], prompt, length=3, seed=4)
    result = call(runs["word"].path, "--prompt", prompt, "--length", "3", "--seed", "4")
    assert result.stdout == f"{shown}{text.lstrip(' ')}\n"


@pytest.mark.parametrize("content", [b"abc", b"abc\n", b"abc\r\n", b"\xef\xbb\xbfabc\n"])
def test_a_prompt_from_a_file_or_standard_input(run: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prompt.txt").write_bytes(content)
    expected = call(run, "--prompt", "abc").stdout
    assert call(run, "--prompt-file", str(tmp_path / "prompt.txt")).stdout == expected
    assert call(run, "--prompt-file", "-", stdin=content).stdout == expected


def test_a_prompt_from_a_pipe_or_a_device(run: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, b"\xef\xbb\xbfabc\r\n")
        result = call(run, "--prompt-file", str(pipe))
    assert result.stdout == call(run, "--prompt", "abc").stdout
    assert call(run, "--prompt-file", os.devnull).stdout == call(run).stdout


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_a_prompt_without_end_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "STREAM_BYTES_AT_MOST", 1000)
    result = call(run, "--prompt-file", "/dev/zero")
    assert isinstance(result.exception, DataError)
    assert str(result.exception) == (
        "the prompt on /dev/zero has more than 1,000 bytes, and no more are read: give a shorter "
        "one, or a file"
    )


def test_only_one_line_break_is_taken_off_a_file(run: Path) -> None:
    result = call(run, "--prompt-file", "-", stdin=b"abc\r\n\n")
    assert result.stdout == call(run, "--prompt", "abc\n").stdout


def test_unknown_tokens_are_a_warning(runs: dict[str, Run]) -> None:
    result = call(runs["word"].path, "--prompt", "once upon a throne")
    assert result.exit_code == 0
    assert result.stdout.startswith("once upon a throne ")
    assert result.stderr == (
        "Warning: the prompt holds 1 token that the model does not know and reads as <unk>: "
        "'throne'\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--temperature", "-1"], "--temperature: received -1.0; expected a number from 0 to 100"),
        (["--temperature", "nan"], "--temperature: received nan; expected a number from 0 to 100"),
        (["--top-p", "0"], "--top-p: received 0.0; expected a number above 0 and at most 1"),
        (["--top-p", "1.1"], "--top-p: received 1.1; expected a number above 0 and at most 1"),
        (["--min-p", "2"], "--min-p: received 2.0; expected a number from 0 to 1"),
        (["--top-k", "0"], "--top-k: received 0; expected a whole number, 1 or more"),
        (["--length", "0"], "--length: received 0; expected a whole number, 1 or more"),
        (
            ["--repetition-penalty", "0"],
            "--repetition-penalty: received 0.0; expected a number from 0.01 to 100",
        ),
        (
            ["--seed", "-5"],
            "--seed: received -5; expected a whole number from 0 to 9223372036854775807",
        ),
        (["--stop", ""], "--stop: received an empty text; expected at least one character"),
        (
            ["--length", "-1", "--top-k", "0"],
            "--length: received -1; expected a whole number, 1 or more\n"
            "--top-k: received 0; expected a whole number, 1 or more",
        ),
        (
            ["--typical-p", "0"],
            "--typical-p: received 0.0; expected a number above 0 and at most 1",
        ),
        (
            ["--presence-penalty", "101"],
            "--presence-penalty: received 101.0; expected a number from -100 to 100",
        ),
        (
            ["--frequency-penalty", "nan"],
            "--frequency-penalty: received nan; expected a number from -100 to 100",
        ),
        (["--beams", "0"], "--beams: received 0; expected a whole number from 1 to 1000"),
        (
            ["--beams", "2", "--length-penalty", "-1"],
            "--length-penalty: received -1.0; expected a number from 0 to 10",
        ),
        (
            ["--bias", "a=inf"],
            "--bias: received a=inf; expected a mapping from text to a number from -1000 to 1000",
        ),
        (
            ["--bias", "a=1", "--bias", "b=1", "--bias", "a=2"],
            "--bias: received two values for 'a', 1 and 2; expected one",
        ),
        (["--ban", ""], "--ban: received an empty text; expected at least one character"),
        (["--ban", "q"], "ban: received 'q', which the model does not know; expected one token"),
        (
            ["--bias", "ab=1"],
            "bias: received 'ab', which is 2 tokens of this model ('a', 'b'); expected one token",
        ),
        (
            ["--beams", "2", "--top-k", "3"],
            "--top-k has no effect with --beams 2, because a beam search does not sample: leave it "
            "out, or set --beams to 1",
        ),
        (
            ["--length-penalty", "1"],
            "--length-penalty has no effect without a beam search: leave it out, or set --beams",
        ),
        (
            ["--beams", "2", "--stream"],
            "--stream cannot go with --beams: no text is certain before the search ends",
        ),
        (
            ["--beams", "2", "--samples", "3"],
            "--samples: received 3; a search with --beams 2 finds at most 2 texts",
        ),
        (
            ["--json", "--stream"],
            "--json prints one object at the end: leave out --stream or --json",
        ),
        (
            ["--interactive", "--prompt", "a", "--json"],
            "--interactive asks for prompts and prints each text as it comes: leave out --prompt "
            "and --json",
        ),
        (["--prompt", "a", "--prompt-file", "-"], "give --prompt or --prompt-file, not both"),
        (
            ["--stream", "--samples", "2"],
            "--stream prints one text as it comes: leave out --stream or --samples",
        ),
    ],
)
def test_options_that_cannot_work(run: Path, options: list[str], message: str) -> None:
    result = call(run, *options)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception) == message
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "1.5"], "Invalid value for '--seed': '1.5' is not a valid integer"),
        (["--samples", "0"], "Invalid value for '--samples': 0 is not in the range 1<=x<=1000"),
        (["--temperature", "hot"], "Invalid value for '--temperature': 'hot' is not a valid"),
        (["--bias", "a"], "'--bias': received 'a'; expected TOKEN=VALUE, such as the=2.5"),
        (["--bias", "a=b"], "'--bias': received 'a=b'; expected TOKEN=VALUE, such as the=2.5"),
        (["--bias", "=1"], "'--bias': received '=1'; expected TOKEN=VALUE, such as the=2.5"),
    ],
)
def test_options_that_are_not_numbers(run: Path, options: list[str], message: str) -> None:
    result = call(run, *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_prompt_file_that_is_not_there(run: Path, tmp_path: Path) -> None:
    result = call(run, "--prompt-file", str(tmp_path / "gone.txt"))
    assert isinstance(result.exception, DataError)
    assert str(result.exception) == f"there is no file {tmp_path}/gone.txt"


def test_a_prompt_that_is_not_utf_8(run: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 au lait")
    result = call(run, "--prompt-file", str(tmp_path / "latin.txt"))
    assert isinstance(result.exception, DataError)
    assert "latin.txt is not UTF-8 text: the byte at offset 3" in str(result.exception)
    result = call(run, "--prompt-file", "-", stdin=b"caf\xe9 au lait")
    assert isinstance(result.exception, DataError)
    assert str(result.exception).startswith(
        "the prompt on standard input is not UTF-8 text: the byte at offset 3 fits no character"
    )


def test_a_prompt_argument_that_is_not_utf_8(run: Path) -> None:
    result = call(run, "--prompt", "caf\udce9")
    assert isinstance(result.exception, DataError)
    assert "U+DCE9 at character 3 is half of a character" in str(result.exception)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    result = call(tmp_path / "gone")
    assert isinstance(result.exception, RunError)
    assert "there is no run at" in str(result.exception)


def test_a_model_whose_logits_are_not_finite(tmp_path: Path) -> None:
    run = make_run(tmp_path / "broken", "char")
    weights = {name: weight.copy() for name, weight in run.load_weights().items()}
    weights["output.bias"][3] = np.nan
    run.save_weights(weights, {"step": 1})
    result = call(run.path)
    assert isinstance(result.exception, RunError)
    assert "the model's logits are not finite: 1 of 14" in str(result.exception)


def test_a_tokenizer_of_another_size_than_the_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "char")
    content = json.loads(run.tokenizer_path.read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary["z"] = len(vocabulary)
    run._replace("tokenizer.json", json.dumps(content).encode(), {})
    result = call(run.path)
    assert isinstance(result.exception, RunError)
    assert "has 15 tokens, and the manifest of the run says 14" in str(result.exception)


def test_the_time_to_load_holds_nothing_of_the_prompt(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "describe_unknown_tokens", lambda *_: time.sleep(0.5))
    times = json.loads(call(run, "--prompt", "abc", "--json").stdout)["times"]
    assert times["load_s"] < 0.5


def test_json_is_one_object_with_everything(runs: dict[str, Run]) -> None:
    run = runs["char"]
    options = ["--prompt", "abz", "--samples", "2", "--length", "5", "--bias", "a=1", "--json"]
    result = call(run.path, *options)
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: the prompt holds 1 token that the model does not")
    report = json.loads(result.stdout)
    assert list(report) == [
        *("format_version", "program_version", "run", "engine"),
        *("settings", "prompt", "samples", "times"),
    ]
    assert (report["format_version"], report["program_version"]) == (1, __version__)
    assert (report["run"], report["engine"]) == (str(run.path), "numpy")
    assert report["settings"] == {
        **run.settings.generation.model_dump(),
        **{"length": 5, "bias": {"a": 1.0}, "seed": 3},
    }
    assert report["prompt"] == {"text": "abz", "tokens": 3, "unknown": 1, "unknown_tokens": ["z"]}
    texts = generate_directly(run, "abz", 2, length=5, bias={"a": 1.0})
    assert [sample["text"] for sample in report["samples"]] == texts
    for sample in report["samples"]:
        assert list(sample) == ["text", "ids", "log_probabilities", "finish_reason"]
        assert len(sample["ids"]) == len(sample["log_probabilities"]) == 5
        assert all(said < 0 for said in sample["log_probabilities"])
        assert sample["finish_reason"] == "length"


def test_json_has_times_that_fit_together(run: Path) -> None:
    finished = subprocess.run(
        [*PROGRAM, str(run), "--prompt", "abc", "--length", "20", "--json"],
        capture_output=True,
        check=True,
    )
    times = json.loads(finished.stdout)["times"]
    assert list(times) == [
        *("load_s", "prompt_s", "prompt_tokens_per_s", "first_token_s", "first_token_from_start_s"),
        *("token_median_s", "token_p95_s", "token_p99_s", "tokens_per_s"),
    ]
    assert 0 < times["prompt_s"] <= times["first_token_s"]
    assert times["prompt_tokens_per_s"] == 3 / times["prompt_s"]
    assert 0 < times["token_median_s"] <= times["token_p95_s"] <= times["token_p99_s"]
    if times["first_token_from_start_s"] is not None:  # a system without /proc does not know
        assert times["first_token_from_start_s"] > times["load_s"] + times["first_token_s"] - 0.02


def test_json_names_a_seed_that_gives_the_same_again(tmp_path: Path) -> None:
    run = make_run(tmp_path / "unseeded", "char", seed=None).path
    report = json.loads(call(run, "--json").stdout)
    again = call(run, "--seed", str(report["settings"]["seed"]))
    assert again.stdout == report["samples"][0]["text"] + "\n"
    assert json.loads(call(run, "--json").stdout)["settings"]["seed"] != report["settings"]["seed"]


def test_json_of_one_token_has_no_time_between_tokens(run: Path) -> None:
    report = json.loads(call(run, "--json", "--length", "1").stdout)
    assert report["times"]["token_median_s"] is None
    assert report["prompt"] == {"text": "", "tokens": 1, "unknown": 0, "unknown_tokens": []}


def test_json_of_a_beam_search(run: Path) -> None:
    report = json.loads(call(run, "--json", "--beams", "3", "--samples", "2").stdout)
    totals = [math.fsum(sample["log_probabilities"]) for sample in report["samples"]]
    assert report["settings"]["seed"] is None
    assert totals == sorted(totals, reverse=True)


def test_json_says_how_fast_a_long_prompt_was_read(run: Path) -> None:
    report = json.loads(call(run, "--prompt-file", "-", "--json", stdin=b"abc " * 5_000).stdout)
    assert report["prompt"]["tokens"] == 20_000
    assert report["times"]["prompt_tokens_per_s"] == 20_000 / report["times"]["prompt_s"]


def test_json_tells_what_ended_a_text(runs: dict[str, Run]) -> None:
    (text,) = generate_directly(runs["char"], "abc")
    stop = text[4:6]
    report = json.loads(call(runs["char"].path, "--prompt", "abc", "--stop", stop, "--json").stdout)
    (sample,) = report["samples"]
    assert sample["finish_reason"] == "stop"
    assert sample["text"] == text[: text.index(stop)]


def test_ctrl_c_ends_the_line_and_the_program(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TextGenerator, "stream", interrupt)
    result = call(run, "--prompt", "abc")
    assert (result.stdout, result.stderr, result.exit_code) == ("abc\n", "", 130)


PROGRAM = [sys.executable, "-c", "from llm_timecycle.cli.main import main; main()", "generate"]


def test_a_closed_pipe_ends_the_program_quietly(run: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), "--prompt", "abc", "--length", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(3) == b"abc"
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == (b"", 0)


@pytest.mark.parametrize("options", [["--json"], ["--samples", "3"]])
def test_a_pipe_that_was_closed_before_is_no_fault(run: Path, options: list[str]) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (errors, process.returncode) == (b"", 0)


def run_with_closed(descriptor: int, *arguments: str) -> tuple[int, bytes, bytes]:
    """How the program ends, and what it prints, where the shell closed one of its streams."""
    script = f"import os, sys; os.close({descriptor}); os.execv(sys.argv[1], sys.argv[1:])"
    finished = subprocess.run(
        [sys.executable, "-c", script, *PROGRAM, *arguments], capture_output=True, check=False
    )
    return finished.returncode, finished.stdout, finished.stderr


def test_a_closed_stream_is_one_message(run: Path) -> None:
    assert run_with_closed(1, str(run)) == (
        2,
        b"",
        b"Error: standard output is closed; expected a place for what is printed: leave it open, "
        b"or add > /dev/null\n",
    )
    assert run_with_closed(0, str(run), "--prompt-file", "-") == (
        2,
        b"",
        b"Error: standard input is closed, and --prompt-file - reads it: give it a file or a "
        b"pipe\n",
    )


def test_without_standard_error_texts_are_printed_as_ever(run: Path) -> None:
    options = (str(run), "--prompt", "abz", "--samples", "2")
    assert run_with_closed(2, *options) == (0, call(run, *options[1:]).stdout_bytes, b"")


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "utf-8"])
def test_what_an_encoding_lacks_is_printed_as_an_escape(run: Path, encoding: str) -> None:
    def print_prompt(*options: str) -> str:
        finished = subprocess.run(
            [*PROGRAM, str(run), "--prompt", "中\u00ff\U0001f600", "--length", "1", *options],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        return finished.stdout.decode(encoding)

    shown = "中\u00ff\U0001f600".encode(encoding, "backslashreplace").decode(encoding)
    assert print_prompt().startswith(shown)
    assert json.loads(print_prompt("--json"))["prompt"]["text"] == "中\u00ff\U0001f600"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_message(run: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            [*PROGRAM, str(run)], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert finished.returncode == 1
    assert finished.stderr.startswith("Error: cannot write: the disk is full")
    assert len(finished.stderr.splitlines()) == 1


def test_tensorflow_is_never_imported(run: Path) -> None:
    code = (
        "import sys\n"
        "from llm_timecycle.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'tensorflow', 'keras'} & set(sys.modules)), file=sys.stderr)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, "generate", str(run), "--prompt", "abc"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.startswith("abc")
    assert finished.stderr == "[]\n"


def test_text_reaches_a_pipe_as_it_comes(run: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, str(run), "--length", "1000000000", "--prompt", "ab"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.read(200)[:2] == b"ab"
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
