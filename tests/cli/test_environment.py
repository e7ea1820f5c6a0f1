"""Environments that nobody would choose: the program does what it does in any other."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llm_timecycle.cli.prompting import prompt_session
from llm_timecycle.config.text_settings import DataSettings
from llm_timecycle.errors import DataError, RunError
from llm_timecycle.runs.directory import open_run
from llm_timecycle.text.corpus import open_corpus
from llm_timecycle.text.prepare import find_cache_directory
from tests.cli.conftest import TINY
from tests.cli.random_runs import generate_directly

ODD = {
    **{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    **{"PYTHONOPTIMIZE": "2", "PYTHONHASHSEED": "7", "COLUMNS": "1", "TERM": "garbage"},
    **{"TMPDIR": "/nonexistent", "XDG_CACHE_HOME": "relative", "MPLBACKEND": "garbage"},
    **{"OMP_NUM_THREADS": "garbage", "OPENBLAS_NUM_THREADS": "-3", "MKL_NUM_THREADS": "0"},
    **{"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "garbage", "TF_USE_LEGACY_KERAS": "1"},
    **{"TF_CPP_MIN_LOG_LEVEL": "garbage", "CUDA_VISIBLE_DEVICES": "garbage"},
}


def run_program(
    place: Path, arguments: Sequence[str], odd: Mapping[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "llm_timecycle", *arguments],
        cwd=place,
        env={**os.environ, **odd},
        input=stdin,
        capture_output=True,
    )


def name_guilty(place: Path, arguments: Sequence[str], stdin: bytes = b"") -> str:
    """Which variables make a command fail where each is the only odd one, and how."""
    guilty = []
    for name, value in ODD.items():
        (place / name).mkdir()
        done = run_program(place / name, arguments, {name: value}, stdin)
        if done.returncode != 0:
            guilty.append(f"{name}={value}: {done.stderr.decode()[-500:]}")
    return "\n".join(guilty)


def write_keras_settings(home: Path) -> list[Path]:
    """Settings of another program's Keras in a home directory; all that is in there then."""
    (home / ".keras").mkdir(parents=True)
    chosen = {"backend": "torch", "floatx": "float16", "epsilon": 0.1}
    (home / ".keras" / "keras.json").write_text(json.dumps(chosen))
    return sorted(home.rglob("*"))


def test_a_text_is_generated_in_any_environment(run: Path, tmp_path: Path) -> None:
    arguments = ["generate", str(run), "--prompt-file", "-", "--json"]
    prompt = "abc 中文"
    done = run_program(tmp_path, arguments, ODD, prompt.encode())
    assert done.returncode == 0, name_guilty(tmp_path, arguments, prompt.encode())
    assert done.stderr == b""
    (text,) = generate_directly(open_run(run), prompt)
    assert json.loads(done.stdout)["samples"][0]["text"] == text


def test_a_model_is_trained_to_the_same_bits_in_any_environment(
    trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    before = write_keras_settings(tmp_path / "home")
    odd = {**ODD, "HOME": str(tmp_path / "home")}
    del odd["PYTHONOPTIMIZE"]  # all of TensorFlow would be compiled for it, for half a minute
    done = run_program(tmp_path, ["train", "tiny.yaml"], odd)
    assert done.returncode == 0, name_guilty(tmp_path, ["train", "../tiny.yaml"])
    weights = Path("runs/tiny/model.safetensors")
    assert (tmp_path / weights).read_bytes() == (trained / weights).read_bytes()
    assert sorted((tmp_path / "home").rglob("*")) == before


def test_a_hang_up_loses_nothing_where_nobody_reads_the_messages_any_more(tmp_path: Path) -> None:
    """As in `train 2>&1 | tee log`, where the end of the terminal is that of tee too."""
    endless = TINY.replace("max_steps: 6", "epochs: 1000000").replace("checkpoint_every: 2,", "")
    (tmp_path / "tiny.yaml").write_text(endless)
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "llm_timecycle", "train", "tiny.yaml"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=write_end,
    )
    os.close(read_end)
    os.close(write_end)
    run = tmp_path / "runs" / "tiny"

    def count_rows() -> int:
        file = run / "metrics.csv"
        return len(file.read_text().splitlines()) - 1 if file.exists() else 0

    try:
        deadline_s = time.monotonic() + 90
        while count_rows() < 1 and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    finally:
        process.kill()
    logged = int((run / "metrics.csv").read_text().splitlines()[-1].split(",")[0])
    saved = max(int(path.name[5:]) for path in (run / "checkpoints").glob("step-*"))
    assert saved >= logged > 0
    open_run(run).load_weights()


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME whom the system does not know, as in some containers."""

    def find_none(_: int) -> None:
        raise KeyError("getpwuid(): uid not found")

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "LLM_TIMECYCLE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", find_none)


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"no home directory.*LLM_TIMECYCLE_CACHE"):
        find_cache_directory()
    monkeypatch.setenv("LLM_TIMECYCLE_CACHE", "here")
    assert find_cache_directory() == Path("here")


@pytest.mark.usefixtures("_homeless")
def test_without_a_home_there_is_no_text_in_it_and_no_history(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*~/a\.txt"):
        open_corpus("~/a.txt", tmp_path, tmp_path, how=DataSettings())
    history = prompt_session.open_history()
    history.append_string("abc")
    assert history.get_strings() == ["abc"]
    assert list(tmp_path.iterdir()) == []
