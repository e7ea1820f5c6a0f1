"""Sending the folder: to a fake Hub on this machine. The real one was not tried."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from huggingface_hub.utils import close_session, disable_progress_bars, enable_progress_bars

from llm_timecycle.cli.generate import command as generate
from llm_timecycle.errors import RunError, UsageError
from llm_timecycle.exporting.huggingface.folder import FILES
from llm_timecycle.exporting.huggingface.push import RepositoryExistsError, push
from tests.exporting.fake_hub import TOKEN, FakeHub, Repository, start_hub
from tests.exporting.hub_runs import export, make_run

# The library hands a file to its HTTP client in a way that the client warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")
NAME = "ann/fox-tales"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = make_run(tmp_path_factory.mktemp("source") / "run")
    return export(source, tmp_path_factory.mktemp("exported") / "folder", license="mit")


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return copytree(exported, tmp_path / "folder")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """The Hub that this process sends to, with a token that it accepts.

    The library reads the environment when it is imported; the last test does that.
    """
    with start_hub() as started:
        monkeypatch.setattr(constants, "ENDPOINT", started.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("HUGGING_FACE_HUB_TOKEN", "HF_OIDC_RESOURCE"):
            monkeypatch.delenv(name, raising=False)
        disable_progress_bars()
        yield started
        enable_progress_bars()
        close_session()


def test_all_files_are_sent_as_one_commit(hub: FakeHub, folder: Path) -> None:
    assert push(folder, NAME) == f"{hub.url}/{NAME}"
    repository = hub.repositories[NAME]
    assert repository.files == {name: (folder / name).read_bytes() for name in FILES}
    assert (repository.private, len(repository.messages)) == (False, 1)


def test_only_the_files_of_an_export_are_sent(hub: FakeHub, folder: Path) -> None:
    (folder / "notes.txt").write_text("what I really think")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "secret").write_text("x")
    (folder / ".env").write_text("HF_TOKEN=hf_mine")
    push(folder, NAME)
    assert set(hub.repositories[NAME].files) == set(FILES)


def test_a_private_repository(hub: FakeHub, folder: Path) -> None:
    push(folder, NAME, private=True)
    assert hub.repositories[NAME].private


def test_a_repository_that_is_there_is_left_alone_until_an_update_is_asked_for(
    hub: FakeHub, folder: Path
) -> None:
    hub.repositories[NAME] = Repository(private=False, files={"README.md": b"old"})
    with pytest.raises(RepositoryExistsError, match=r"exists already.*again with force") as caught:
        push(folder, NAME)
    assert caught.value.repository == NAME
    assert hub.repositories[NAME].files == {"README.md": b"old"}
    push(folder, NAME, update=True)
    assert hub.repositories[NAME].files["README.md"] == (folder / "README.md").read_bytes()


def test_nothing_private_goes_into_a_public_repository(hub: FakeHub, folder: Path) -> None:
    hub.repositories[NAME] = Repository(private=False)
    with pytest.raises(UsageError, match=r"is public, and a private one was asked for.*/settings"):
        push(folder, NAME, private=True, update=True)
    assert hub.repositories[NAME].files == {}
    hub.repositories[NAME].private = True
    push(folder, NAME, private=True, update=True)


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("---\nlibrary_name: llm-timecycle\n---\n# Mine\n", "names no license"),
        ("---\nlicense:\n---\n", "names no license"),
        ("# Mine\n\nlicense: mit\n", "names no license"),
        ("---\nlicense: [mit\n---\n", r"the metadata of .*README\.md:1, column"),
        ("---\n- license\n---\n", "names no license"),
    ],
)
def test_without_a_license_nothing_is_sent(
    hub: FakeHub, folder: Path, card: str, message: str
) -> None:
    (folder / "README.md").write_text(card)
    with pytest.raises(UsageError, match=message):
        push(folder, NAME)
    assert hub.requests == []


def test_a_card_that_its_owner_has_edited_is_sent(hub: FakeHub, folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    edited = card.replace("license: mit", "license: cc0-1.0").replace("# LSTM", "# Fox tales, LSTM")
    (folder / "README.md").write_text(edited, encoding="utf-8", newline="\r\n")
    push(folder, NAME)
    assert b"cc0-1.0" in hub.repositories[NAME].files["README.md"]


def test_without_a_token_nothing_is_sent(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match=r"no token .*/settings/tokens.*HF_TOKEN.*hf auth login"):
        push(folder, NAME)
    assert hub.requests == []


@pytest.mark.parametrize("repository", ["fox-tales", "ann/fox/tales", "", "ann/fox tales", "ann/"])
def test_a_name_that_cannot_be_one_is_refused(hub: FakeHub, folder: Path, repository: str) -> None:
    with pytest.raises(UsageError, match="expected USER/NAME"):
        push(folder, repository)
    assert hub.requests == []


def test_a_name_that_the_library_refuses(hub: FakeHub, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"^repository: "):
        push(folder, "ann/fox..tales")
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("path", "status", "body", "message"),
    [
        ("create", 401, {"error": "Invalid"}, r"does not accept the token .*Make another one"),
        ("create", 403, {"error": "No scope"}, r"may not write to ann/fox-tales .*No scope.*ann"),
        ("create", 500, {}, r"cannot take it now \(HTTP 500\).*Try again later"),
        ("create", 404, {"error": "no such user"}, r"refused ann/fox-tales \(HTTP 404\).*no such"),
        ("create", 200, b"<html>Welcome</html>", r"does not answer as the Hub does.*HF_ENDPOINT"),
        ("create", 200, {"ok": True}, r"does not answer as the Hub does.*HF_ENDPOINT"),
        (
            "validate",
            400,
            {"errors": [{"message": "tags must be a list"}]},
            r"tags must be a list.*The repository is there.*again with force",
        ),
        ("/commit/", 403, {"error": "read-only"}, r"may not write.*nothing was put into it"),
        ("/large/", 403, {}, r"may not write.*nothing was put into it"),
    ],
)
def test_each_refusal_is_one_message_with_a_way_out(
    hub: FakeHub, folder: Path, path: str, status: int, body: object, message: str
) -> None:
    hub.failures[path] = (status, body)
    with pytest.raises(UsageError, match=message) as caught:
        push(folder, NAME)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert all(repository.files == {} for repository in hub.repositories.values())


def test_a_network_that_is_not_there(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(UsageError, match=r"cannot be reached: .*Check the network"):
            push(folder, NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"HF_HUB_OFFLINE is set.*Unset it"):
        push(folder, NAME)


def test_a_server_without_xet(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    with pytest.raises(UsageError, match=r"Xet storage: .*404.*export HF_HUB_DISABLE_XET=1"):
        push(folder, NAME)


@pytest.mark.parametrize("name", ["example.py", "model.safetensors", "config.json"])
def test_a_folder_that_is_not_whole_is_not_sent(hub: FakeHub, folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(RunError, match=re.escape(name)):
        push(folder, NAME)
    assert hub.requests == []


def test_damaged_weights_are_not_sent(hub: FakeHub, folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    with pytest.raises(RunError, match="not what the manifest says"):
        push(folder, NAME)
    assert hub.requests == []


THERE_AND_BACK = """
import sys
from pathlib import Path
from llm_timecycle.exporting.huggingface.folder import write
from llm_timecycle.exporting.huggingface.push import push
assert "huggingface_hub" not in sys.modules, "imported before anything is pushed"
folder, repository, place = sys.argv[1:]
print(push(Path(folder), repository))
from huggingface_hub import snapshot_download
snapshot_download(repository, local_dir=place)
assert "tensorflow" not in sys.modules
"""


def test_what_is_pushed_can_be_downloaded_and_used(folder: Path, tmp_path: Path) -> None:
    """In another process, where the environment says where the Hub is and with which token."""
    downloaded = tmp_path / "downloaded"
    settings = {"HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    with start_hub() as hub:
        done = subprocess.run(
            [sys.executable, "-c", THERE_AND_BACK, str(folder), NAME, str(downloaded)],
            env={**os.environ, **settings, "HF_ENDPOINT": hub.url, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{hub.url}/{NAME}\n"
        assert hub.tokens == {TOKEN, ""}, "a large file goes where the Hub said, without the token"
    written = [
        CliRunner().invoke(generate, [str(path), "--seed", "3"], catch_exceptions=False).stdout
        for path in (folder, downloaded)
    ]
    assert written[0] == written[1] != ""
