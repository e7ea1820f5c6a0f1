"""What a client is told when a request cannot be answered: one object for everything.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

INVALID = "invalid_request_error"
SERVER = "server_error"
RETRY_AFTER_S = {429: 1, 503: 1}
SHOWN_AT_MOST = 100  # characters of a received value
_SHORT = reprlib.Repr()  # reads only the beginning of what may be large or deep
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _SHORT.maxlist = SHOWN_AT_MOST


class ApiError(Exception):
    """A request that is refused, or an answer that failed.

    Args:
        status: the HTTP status.
        message: what was expected, what was found, what to do next.
        param: the field of the request that is wrong.
        code: a word for programs.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        wait = {"Retry-After": str(RETRY_AFTER_S[status])} if status in RETRY_AFTER_S else {}
        self.headers = {**wait, **(headers or {})}

    def to_json(self) -> dict[str, Any]:
        """The body of the answer."""
        kind = SERVER if self.status >= 500 else INVALID
        if self.status == 429:
            kind = "rate_limit_error"
        if self.status == 401:
            kind = "authentication_error"
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }


def refuse_field(param: str, received: object, expected: str) -> ApiError:
    """The error for a field with a wrong value.

    >>> refuse_field("n", 0, "a whole number from 1 to 128").message
    'n: received 0; expected a whole number from 1 to 128'
    """
    return ApiError(400, f"{param}: received {show(received)}; expected {expected}", param=param)


def show(value: object) -> str:
    """A received value, shortened, with everything escaped that is not printable.

    >>> show("a\\x1b"), len(show(list(range(1000)))), show([[[[[[[[1]]]]]]]])
    ("'a\\\\x1b'", 100, '[[[[[[[...]]]]]]]')
    """
    shown = _SHORT.repr(value)
    return shown if len(shown) <= SHOWN_AT_MOST else f"{shown[: SHOWN_AT_MOST - 3]}..."
