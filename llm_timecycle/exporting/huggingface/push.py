"""Sending an exported folder to the Hub, with `huggingface_hub`, which is imported only then.

The Hub is where `HF_ENDPOINT` says, and the token is that of `HF_TOKEN` or of `hf auth login`. All
files are one commit, so that nobody downloads half a model. Only the files of `folder.FILES` are
sent, whatever else is in the folder.
"""

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_timecycle import __version__
from llm_timecycle.config.yaml_nodes import parse_yaml, to_python
from llm_timecycle.errors import ConfigError, RunError, UsageError
from llm_timecycle.exporting.huggingface.card import LIBRARY, check_repository
from llm_timecycle.exporting.huggingface.folder import CARD, FILES
from llm_timecycle.files import read_regular
from llm_timecycle.runs.directory import open_run
from llm_timecycle.runs.learned import SPELLING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

log = logging.getLogger("llm_timecycle")

CARD_BYTES_AT_MOST = 1 << 20

_METADATA = re.compile(r"---\r?\n(.*?)\r?\n---\s*(?:\n|$)", re.DOTALL)
_UNAUTHORIZED, _FORBIDDEN, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 401, 403, 409, 429, 500


class RepositoryExistsError(UsageError):
    """The repository is there already.

    Attributes:
        repository: its name, USER/NAME.
    """

    def __init__(self, repository: str, endpoint: str) -> None:
        self.repository = repository
        super().__init__(
            f"{repository} exists already at {endpoint}. To replace the model that is in it (the "
            f"old one stays in its history), export again with force; or choose another name"
        )


def push(folder: Path, repository: str, *, private: bool = False, update: bool = False) -> str:
    """Send an exported folder to the Hub; returns the address of the model there.

    Args:
        folder: what `folder.write` made; its `README.md` may have been edited since.
        repository: USER/NAME, where USER may be an organization.
        private: whether a new repository is visible to its owner only.
        update: whether the repository may be there already, and gets a new commit.

    Raises:
        UsageError: the card has no license, there is no token, the Hub cannot be reached, or it
            refuses; RepositoryExistsError: the repository is there already.
        RunError: the folder is incomplete or damaged.
    """
    check_repository(repository)
    paths = _list_files(folder)
    _check_license(folder / CARD)
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    api = HfApi(library_name=LIBRARY, library_version=__version__)
    failures = _list_failures()
    try:
        if get_token() is None:
            raise UsageError(_explain_no_token(api.endpoint))
        _create(api, repository, private, update)
    except failures as error:
        raise UsageError(_explain(error, repository, api.endpoint)) from error
    log.info("sending %s files to %s/%s", len(paths), api.endpoint, repository)
    try:
        api.create_commit(
            repository,
            [CommitOperationAdd(path.name, path) for path in paths],
            commit_message=f"Model exported by {LIBRARY} {__version__}",
        )
    except failures as error:
        raise UsageError(
            f"{_explain(error, repository, api.endpoint)}. The repository is there, and nothing "
            f"was put into it; export again with force"
        ) from error
    return f"{api.endpoint}/{repository}"


def _list_files(folder: Path) -> list[Path]:
    """The files to send, checked against the manifest; RunError where one is missing or damaged."""
    run = open_run(folder)
    run.load_weights()
    paths = [folder / name for name in FILES]
    missing = [path.name for path in paths if not path.is_file() and path.name != SPELLING]
    if missing:
        raise RunError(
            f"{folder} is not an export for the Hub: it lacks {', '.join(missing)}. Export the run "
            f"again, and push the new folder"
        )
    return [path for path in paths if path.is_file()]


def _check_license(card: Path) -> None:
    """Raise UsageError unless the card's metadata name a license."""
    found = _METADATA.match(read_regular(card, CARD_BYTES_AT_MOST).decode("utf-8", "replace"))
    try:
        node = parse_yaml(found[1], f"the metadata of {card}") if found else None
    except ConfigError as error:
        raise UsageError(str(error)) from error
    metadata = None if node is None else to_python(node)
    if not (isinstance(metadata, dict) and metadata.get("license")):
        raise UsageError(
            f"{card} names no license, so nobody may use the model. Export the run again with a "
            f"license, such as apache-2.0 or cc-by-4.0, or add a line to its metadata: "
            f"license: apache-2.0"
        )


def _create(api: HfApi, repository: str, private: bool, update: bool) -> None:
    """Make the repository, or check the one that is there."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        # None leaves it to the organization, some of which make everything private.
        api.create_repo(repository, private=private or None, exist_ok=update)
    except HfHubHTTPError as error:
        if error.response.status_code == _CONFLICT:
            raise RepositoryExistsError(repository, api.endpoint) from error
        raise
    if private and update and not api.repo_info(repository).private:
        raise UsageError(
            f"{repository} is public, and a private one was asked for. Make it private at "
            f"{api.endpoint}/{repository}/settings, or push without private"
        )


def _list_failures() -> tuple[type[Exception], ...]:
    """What the library raises where the Hub, the network or its own checks refuse."""
    from huggingface_hub import errors

    http_error: type[Exception] = errors.HTTPError  # type: ignore[attr-defined]  # of its client
    return (OSError, http_error, ValueError, KeyError, RuntimeError)


def _explain_no_token(endpoint: str) -> str:
    return (
        f"there is no token for {endpoint}. Make one with write permission at "
        f"{endpoint}/settings/tokens, and set the environment variable HF_TOKEN to it, or run: "
        f"hf auth login"
    )


def _explain(error: BaseException, repository: str, endpoint: str) -> str:
    """What went wrong, and what to do, without the end of the sentence."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if isinstance(error, RuntimeError) and isinstance(error.__cause__, _list_failures()):
        return _explain(error.__cause__, repository, endpoint)
    if isinstance(error, HfHubHTTPError):
        return _explain_refusal(error, repository, endpoint)
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is sent. Unset it"
    if isinstance(error, HFValidationError):
        return f"repository: {error}"
    if isinstance(error, (json.JSONDecodeError, KeyError)):
        return f"{endpoint} does not answer as the Hub does. Check HF_ENDPOINT"
    if isinstance(error, ValueError):  # of the model card
        return f"{endpoint} refused it: {_join(error)}"
    said = _join(error) or type(error).__name__
    if "xet" in said.lower():
        return (
            f"{endpoint} did not take the weights into its Xet storage: {said}. Try again later, "
            f"or, if that server has no Xet: export HF_HUB_DISABLE_XET=1"
        )
    if isinstance(error, RuntimeError):
        return f"{endpoint} did not take the files: {said}. Try again later"
    where = " and HF_ENDPOINT" if "HF_ENDPOINT" in os.environ else ""
    return f"{endpoint} cannot be reached: {said}. Check the network connection{where}"


def _explain_refusal(error: Any, repository: str, endpoint: str) -> str:
    """An answer of the Hub that is an error (`HfHubHTTPError`)."""
    status = error.response.status_code
    said = f" ({' '.join(error.server_message.split())})" if error.server_message else ""
    if status == _UNAUTHORIZED:
        return (
            f"{endpoint} does not accept the token{said}: it is wrong, or was revoked or has "
            f"expired. Make another one with write permission at {endpoint}/settings/tokens, and "
            f"set HF_TOKEN to it"
        )
    if status == _FORBIDDEN:
        return (
            f"the token may not write to {repository}{said}. It needs write permission, and "
            f"{repository.partition('/')[0]} must be you or an organization that lets you write"
        )
    if status == _TOO_MANY or status >= _SERVER_ERROR:
        return f"{endpoint} cannot take it now (HTTP {status}){said}. Try again later"
    return f"{endpoint} refused {repository} (HTTP {status}){said}"


def _join(error: BaseException) -> str:
    """The message on one line."""
    return " ".join(str(error).split())
