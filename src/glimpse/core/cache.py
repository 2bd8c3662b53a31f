"""Content-addressed cache entries below `.cache/`: keys made of what can change the bytes, contents with a checksum."""

import ast
import contextlib
import hashlib
import inspect
import json
from pathlib import Path
from types import ModuleType

from glimpse.core.files import atomic_write


def source_hash(*modules: ModuleType) -> str:
    """Hash of the modules' syntax trees without docstrings: comments, formatting and docstrings do not change it."""
    digest = hashlib.sha256()
    for module in modules:
        tree = ast.parse(Path(inspect.getfile(module)).read_bytes())
        for node in ast.walk(tree):
            match node:
                case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                    if ast.get_docstring(node, clean=False) is not None:
                        del node.body[0]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:16]


def cache_key(path: Path | str, *parts: object) -> str:
    """Key of what is computed from a file: changes with its bytes and with `parts` (settings, versions, code).

    `parts` must be JSON-serialisable. Raises OSError if the file cannot be read.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(parts).encode())
    return digest.hexdigest()[:40]


def cache_write(path: Path | str, content: bytes) -> None:
    """Write a cache entry, followed by its checksum."""
    with atomic_write(path, "wb") as file:
        file.write(content)
        file.write(hashlib.sha256(content).digest())


def cache_read(path: Path | str) -> bytes | None:
    """Read a cache entry; None if it does not exist or is damaged."""
    with contextlib.suppress(OSError):
        content = Path(path).read_bytes()
        if hashlib.sha256(content[:-32]).digest() == content[-32:]:
            return content[:-32]
    return None
