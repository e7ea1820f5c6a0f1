"""Where what can be made again is kept: extracted corpora, tokenizers, token stores."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def find_cache_directory() -> Path:
    """The directory named by LLM_TIMECYCLE_CACHE, or the user's cache directory."""
    if named := os.environ.get("LLM_TIMECYCLE_CACHE"):
        return Path(named)
    return platformdirs.user_cache_path("llm-timecycle", appauthor=False)
