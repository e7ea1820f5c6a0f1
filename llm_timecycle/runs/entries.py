"""What the entries of a manifest may be: numbers in range, hashes, names of files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

M = TypeVar("M", bound=BaseModel)
Count = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]
STRICT = ConfigDict(strict=True, allow_inf_nan=False)


class StoredFile(BaseModel):
    """The size and the hash of a file."""

    model_config = STRICT
    bytes: Count
    sha256: Sha256


class _Replacement(StoredFile):
    facts: dict[str, Any] = {}


class _Sample(BaseModel):
    model_config = STRICT
    sha256: Sha256
    characters: Count
    rule: str


class _Corpus(BaseModel):
    model_config = STRICT
    vocabulary_sample: _Sample | None = None
    sha256: Sha256
    tokens: Count = 0
    unknown: Count = 0
    words: Count = 0
    characters: Count = 0
    bytes: Count = 0

    @model_validator(mode="after")
    def _check_order(self) -> _Corpus:
        if self.unknown > self.tokens or not self.words <= self.characters <= self.bytes:
            raise ValueError("these counts cannot be those of one text")
        return self


class _Best(BaseModel):
    model_config = STRICT
    step: Count = 0
    valid_loss_nats: Annotated[float, Field(ge=0)] | None = None


class _Entries(BaseModel):
    model_config = STRICT
    identity: Sha256 | None = None
    vocab_size: Annotated[int, Field(ge=2, le=1 << 24)]
    files: dict[FileName, StoredFile]
    replacing: dict[FileName, _Replacement]
    corpora: dict[FileName, _Corpus]
    best: _Best | None = None
    settings: dict[str, dict[str, Any]] = {}
    origin: dict[str, Any] | None = None


def check_entries(manifest: Mapping[str, Any]) -> None:
    """Raise ValueError, which names the first entry that cannot be, unless all entries can."""
    check_model(_Entries, manifest)


def check_model(model: type[M], values: Mapping[str, Any]) -> M:
    """What a model makes of values; ValueError, which names the first that cannot be."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"its entry {place} cannot be: {first['msg']}") from None
