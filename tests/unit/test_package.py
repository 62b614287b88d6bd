"""The rules of the package's layout: who imports whom, sizes, and names.

The layout is described in CONTRIBUTING.md.
"""

import ast
import functools
import json
from pathlib import Path

import pytest
from helpers.processes import run_python

import lightning_cam
from lightning_cam.metrics.catalog import METRICS

_HOME = Path(lightning_cam.__file__).parent

# The entries of the package. Each may import only entries that stand below it.
ENTRIES = (
    "callback",
    "integrations",
    "cli",
    "monitor",
    "output",
    "interventions",
    "explain",
    "probe",
    "render",
    "metrics",
    "runtime",
)
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_utilities", "lightning_fabric"}


def sources():
    return sorted(_HOME.rglob("*.py"))


def relative(path):
    return path.relative_to(_HOME).as_posix()


def entry_of(path):
    return path.relative_to(_HOME).parts[0].removesuffix(".py")


def module_name(path):
    parts = path.relative_to(_HOME.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_by(path):
    """Return the full names of all imports of a file, those inside functions included."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: expected absolute imports"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def graph():
    """Return which modules of the package each of them imports, re-exports of packages left out."""
    names = {module_name(path): path for path in sources()}

    def module_of(name):
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name

    found = {}
    for name, path in names.items():
        targets = {module_of(each) for each in imported_by(path)} - {"", "lightning_cam", name}
        if path.name == "__init__.py":
            targets = {each for each in targets if not each.startswith(f"{name}.")}
        found[name] = targets
    return found


def cycles(edges):
    """Return the strongly connected components of more than one module (Tarjan)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(node):
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in edges[node]:
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in number:
            visit(node)
    return found


def test_the_parser_of_imports_finds_them():
    assert len(sources()) > 100
    engine = "lightning_cam.explain.engine.compute_cams"
    assert engine in imported_by(_HOME / "monitor/map_computer.py")
    assert "lightning_cam.render.encode.png" in imported_by(_HOME / "output/picture.py")  # in a def
    assert "lightning_cam.explain.engine" in graph()["lightning_cam.monitor.map_computer"]
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_imports_only_entries_below_it(entry):
    below = set(ENTRIES[ENTRIES.index(entry) + 1 :])
    for path in sources():
        if entry_of(path) == entry:
            ours = {name for name in imported_by(path) if name.startswith("lightning_cam")}
            used = {name.partition(".")[2].partition(".")[0] for name in ours}
            assert used - {entry, "__version__"} <= below, relative(path)


def test_there_are_no_import_cycles():
    assert cycles(graph()) == []


def test_only_the_callback_and_modules_named_after_it_import_lightning():
    found = {
        relative(path)
        for path in sources()
        if LIGHTNING & {name.partition(".")[0] for name in imported_by(path)}
        or LIGHTNING & {name.partition(".")[0] for name in imported_by_name(path)}
    }
    parts = ("", "_evaluation", "_metrics", "_other_data")
    beside = {f"runtime/lightning{part}.py" for part in parts}
    assert found <= {"callback.py", *beside}


def imported_by_name(path):
    """Return the constant arguments of `import_module` and `__import__`."""
    calls = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    return {
        argument.value
        for call in calls
        if ast.unparse(call.func).rpartition(".")[2] in ("import_module", "__import__")
        for argument in call.args
        if isinstance(argument, ast.Constant)
    }


def test_there_are_no_star_imports():
    assert [p for p in sources() if any(name.endswith(".*") for name in imported_by(p))] == []


# The libraries are imported once, and each entry in a process that was forked after that.
_IMPORT_ENTRIES = """
import importlib, json, os, sys
import cv2, lightning.pytorch, torchvision
for entry, names in json.loads(sys.argv[1]).items():
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    try:
        for name in names:
            importlib.import_module(name)
        print(*{n.split('.')[1] for n in sys.modules if n.startswith('lightning_cam.')}, flush=True)
    finally:
        os._exit(0)
"""


@pytest.mark.slow
def test_importing_an_entry_imports_none_above_it():
    names = {
        entry: [module_name(p) for p in sources() if entry_of(p) == entry] for entry in ENTRIES
    }
    done = run_python("-c", _IMPORT_ENTRIES, json.dumps(names))
    lines = done.stdout.splitlines()
    for entry, line in zip(ENTRIES, lines, strict=True):
        loaded = set(line.split())
        assert entry in loaded
        assert not loaded & set(ENTRIES[: ENTRIES.index(entry)]), entry


# --- sizes and names ------------------------------------------------------------------------------

# Metaphors of earlier versions, which have plain names now.
# fmt: off
OLD_MODULES = {
    "watch", "look", "desk", "scribe", "paperwork", "reading", "questions", "inside", "team",
    "sharding", "faults", "memory", "batching", "restoring", "chunk", "survey", "preferences",
    "words", "places", "choose", "curves", "network", "entry",
}
OLD_CLASSES = {
    "Watch", "Look", "Desk", "Scribe", "Order", "Delivery", "Paperwork", "Team", "TeamError",
    "Share", "Faults", "ChunkSize", "AlertBook", "Options", "Chunk", "Caught", "Preferences",
    "Level", "Change", "Moment", "Inside", "Gallery",
}
OLD_FUNCTIONS = {
    "look", "remember", "together", "through", "agreed", "same", "forgiven", "asks", "survey",
    "signals_held", "undisturbed", "preferred", "preferred_images", "sparing", "filled",
    "mixed", "elsewhere", "evidence_magnitude",
}
# fmt: on


def test_the_package_has_eleven_entries():
    beside = {"__init__.py", "__main__.py", "__pycache__", "py.typed"}
    found = {path.name.removesuffix(".py") for path in _HOME.iterdir() if path.name not in beside}
    assert found == set(ENTRIES)


def test_files_are_short():
    lines = {relative(path): len(path.read_text("utf-8").splitlines()) for path in sources()}
    assert lines["callback.py"] <= 300
    assert {name: count for name, count in lines.items() if count > 350} == {}


def test_functions_are_short():
    too_long = {}
    for path in sources():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                start = node.lineno
                if ast.get_docstring(node):
                    start += node.body[0].end_lineno - node.body[0].lineno + 1
                if node.end_lineno - start + 1 > 60:
                    too_long[f"{relative(path)}:{node.name}"] = node.end_lineno - start + 1
    assert too_long == {}


def test_the_metaphors_of_earlier_versions_are_gone():
    modules = {part for path in sources() for part in module_name(path).split(".")}
    assert not modules & OLD_MODULES
    assert "evidence" not in METRICS
    for path in sources():
        classes = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)]
        assert not {node.name for node in classes} & OLD_CLASSES, relative(path)
        bodies = [tree_of(path).body, *(node.body for node in classes)]
        functions = {n.name for body in bodies for n in body if isinstance(n, ast.FunctionDef)}
        assert not functions & OLD_FUNCTIONS, relative(path)
        assert not [name for name in functions if name.startswith("ask_")], relative(path)
