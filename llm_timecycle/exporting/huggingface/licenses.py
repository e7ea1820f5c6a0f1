"""The licenses that the Hub knows; which one a model has is for its owner to say."""

from __future__ import annotations

import re

from llm_timecycle.config.spelling import find_nearest
from llm_timecycle.errors import UsageError

OTHER = "other"
LICENSES = (
    *("apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m"),
    *("bigscience-bloom-rail-1.0", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0"),
    *("bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0"),
    *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0"),
    *("cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0"),
    *("epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "agpl-3.0", "gfdl", "gpl", "gpl-2.0"),
    *("gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl", "mpl-2.0"),
    *("odc-by", "odbl", "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense"),
    *("zlib", "pddl", "lgpl-lr", OTHER),
)
"""Identifiers of https://huggingface.co/docs/hub/repositories-licenses, without those of particular
models of others, and without `unknown`, which says nothing."""


_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_LINK = re.compile(r"https?://[^\s()<>]+")


def check_license(license: str | None, name: str | None, link: str | None) -> None:
    """Check what a card says of its license.

    Args:
        license: an identifier of `LICENSES`; None says nothing.
        name, link: with "other", what it is called and where it is written.

    Raises:
        UsageError: the license is not one of them, or the three do not fit each other.
    """
    if license is not None and license not in LICENSES:
        nearest = find_nearest(license.lower().replace(" ", "-"), LICENSES)
        hint = f"Did you mean {nearest}?" if nearest else "Examples: apache-2.0, mit, cc-by-4.0."
        raise UsageError(
            f"license: received {license!r}; expected an identifier of "
            f"https://huggingface.co/docs/hub/repositories-licenses. {hint} For a license that is "
            f"not listed there: {OTHER}, with license_name and license_link"
        )
    is_told = _NAME.fullmatch(name or "") and _LINK.fullmatch(link or "")
    if license == OTHER and not is_told:
        raise UsageError(
            f"license: {OTHER} needs license_name, such as my-license-1.0, and license_link, the "
            f"address of its text, such as https://example.org/license"
        )
    if license != OTHER and (name or link):
        raise UsageError(
            f"license_name and license_link go with license: {OTHER} only; leave them out"
        )
