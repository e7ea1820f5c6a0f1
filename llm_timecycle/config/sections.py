"""The sections and keys of the settings, in order, and the type of each key's value."""

from __future__ import annotations

from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from llm_timecycle.config.settings import Settings


@cache
def list_sections() -> dict[str, type[BaseModel]]:
    """The sections in order, each with its model."""
    models = {name: field.annotation for name, field in Settings.model_fields.items()}
    return {
        name: model
        for name, model in models.items()
        if isinstance(model, type) and issubclass(model, BaseModel)
    }


@cache
def list_section_keys() -> dict[str, tuple[str, ...]]:
    """The sections in order, each with its keys in order."""
    return {section: tuple(model.model_fields) for section, model in list_sections().items()}


def find_value_type(section: str, key: str) -> type:
    """The Python type of a key's value: int, float, bool, str, list or dict; null is left out.

    >>> find_value_type("generation", "top_k"), find_value_type("generation", "stop")
    (<class 'int'>, <class 'list'>)
    """
    annotation = list_sections()[section].model_fields[key].annotation
    kind: type = _list_choices(annotation)[0]
    return get_origin(kind) or kind


def write_annotation(annotation: Any) -> str:
    """A type as Python source, without the ranges.

    >>> write_annotation(list[Annotated[str, "not empty"]] | None)
    'list[str] | None'
    """
    if get_origin(annotation) is Annotated:
        return write_annotation(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(write_annotation, get_args(annotation)))
    if get_origin(annotation) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if arguments := get_args(annotation):
        return f"{get_origin(annotation).__name__}[{', '.join(map(write_annotation, arguments))}]"
    return "None" if annotation is NoneType else str(annotation.__name__)


def _list_choices(annotation: Any) -> list[Any]:
    """The members of a union other than None, or the type itself, without ranges."""
    if get_origin(annotation) is Annotated:
        return _list_choices(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = [choice for part in get_args(annotation) for choice in _list_choices(part)]
        return [member for member in members if member is not NoneType]
    if get_origin(annotation) is Literal:
        return [type(get_args(annotation)[0])]
    return [annotation]
