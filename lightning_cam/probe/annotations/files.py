"""Annotation files: read as text, JSON or XML; damaged and hostile ones are one ValueError."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat


class DamagedFileError(ValueError):
    """A file that is not what it should be; the message names it."""


@dataclass(frozen=True)
class Source:
    """A file or folder of annotations, whose content is parsed once.

    Attributes:
        path: the file or folder.
    """

    path: Path

    @cached_property
    def json(self) -> Any:
        """What a JSON file holds, None for anything else."""
        is_json = self.path.is_file() and self.path.suffix.lower() == ".json"
        return read_json(self.path) if is_json else None

    @cached_property
    def xml(self) -> Element | None:
        """The root of an XML file, None for anything else."""
        is_xml = self.path.is_file() and self.path.suffix.lower() == ".xml"
        return read_xml(self.path) if is_xml else None


@contextlib.contextmanager
def reading(path: Path, title: str) -> Iterator[None]:
    """Turn whatever the body raises over a file's content into a ValueError that names the file.

    Args:
        path: the file.
        title: of its format.

    Raises:
        ValueError: instead of errors of Python over missing or wrong parts.
        OSError: the file cannot be read.
    """
    try:
        yield
    except (OSError, DamagedFileError):
        raise
    except Exception as error:
        reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DamagedFileError(
            f"expected a sound {title} file, got {path}: {reason or repr(error)}"
        ) from error


def read_text(path: Path) -> str:
    """Return a file's text.

    Raises:
        ValueError: it is no UTF-8.
        OSError: it cannot be read.
    """
    return path.read_text(encoding="utf-8-sig")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ValueError: it is no JSON.
        OSError: it cannot be read.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("expected JSON, got lists nested thousands deep") from error


def read_xml(path: Path) -> Element:
    """Return the root of an XML file without a document type.

    A document type may define entities that grow without bound or name other files; annotation
    tools write none.

    Raises:
        ValueError: it is no XML, or has a document type.
        OSError: it cannot be read.
    """

    def refuse(*_: Any) -> NoReturn:
        raise ValueError("expected XML without a document type (<!DOCTYPE>), got one with it")

    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = lambda tag, attributes: _quiet(builder.start(tag, attributes))
    parser.EndElementHandler = lambda tag: _quiet(builder.end(tag))
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    try:
        parser.Parse(path.read_bytes(), True)  # noqa: FBT003
    except expat.ExpatError as error:
        raise ValueError(f"expected XML, got {error}") from error
    return builder.close()


def _quiet(_: Any) -> None:
    """Return nothing, as expat's handlers do."""


def text_of(element: Element, path: str) -> str:
    """Return the text of a part of an element.

    Raises:
        ValueError: there is none.
    """
    found = element.findtext(path)
    if found is None or not found.strip():
        raise ValueError(f"expected <{path}> in <{element.tag}>, got none")
    return found.strip()
