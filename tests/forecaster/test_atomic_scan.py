"""Only the atomic writer makes files; nothing runs what a file says; bars are read from memory."""

import ast
import re
from pathlib import Path

import pytest

import backbones
import forecaster

# Temporary files of `tempfile` are no results and may be made anywhere.
WRITERS = {
    *("to_parquet", "to_csv", "to_json", "to_pickle", "to_feather", "to_excel", "write_table"),
    *("write_text", "write_bytes", "save", "savez", "savetxt", "save_file", "dump", "tofile"),
    *("write_html", "write_image"),
}
SINKS = {"BytesIO", "StringIO", "BufferOutputStream"}


def writes(source: str) -> list[str]:
    """Calls in `source` that make a file, unless they write to a buffer made in the same module."""
    tree = ast.parse(source)
    sinks = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if getattr(node.value.func, "attr", getattr(node.value.func, "id", "")) in SINKS
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        to_sink = any(isinstance(arg, ast.Name) and arg.id in sinks for arg in node.args)
        strings = [arg.value for arg in [*node.args, *(k.value for k in node.keywords)]
                   if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]  # fmt: skip
        opens = name == "open" and any(
            set(s) <= set("rwaxbt+") and set(s) & set("wax+") for s in strings
        )
        in_memory = name in {"to_csv", "to_json", "to_parquet"} and not node.args
        if opens or (name in WRITERS and not to_sink and not in_memory):
            found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_only_the_atomic_writer_makes_files() -> None:
    root = Path(forecaster.__file__).parent
    bad = {
        str(path.relative_to(root)): found
        for path in sorted(root.rglob("*.py"))
        if path.name != "atomic.py" and (found := writes(path.read_text()))
    }
    assert bad == {}


@pytest.mark.parametrize(
    "line",
    [
        "frame.to_parquet(path)",
        "frame.to_csv(path)",
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "open(path, 'w')",
        "path.open('wb')",
        "open(path, mode='a')",
        "np.save(path, x)",
        "pq.write_table(table, path)",
        "save_file(tensors, path)",
        "json.dump(x, file)",
    ],
)
def test_the_scan_sees_each_way_to_write(line: str) -> None:
    assert writes(line) == [f"1: {line}"]
    assert writes("sink = io.BytesIO()\npq.write_table(table, sink)\nopen(path, 'rb')") == []


READERS = {"read_csv", "read_parquet", "read_table", "read_schema", "read_metadata", "ParquetFile"}
UNSAFE = {"eval", "exec", "__import__", "read_pickle", "Template", "select_autoescape"}
UNSAFE_OF = {
    "torch": {"load", "save"},
    "np": {"load"},
    "numpy": {"load"},
    "yaml": {"load"},
    "os": {"system", "popen", "execv", "execvp", "spawnl", "spawnv"},
}
UNSAFE_MODULES = {"pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle", "yaml"}
UNSAFE_MODULES |= {"subprocess", "pty", "xml"}  # a shell; entities that expand
ROOTS = [Path(forecaster.__file__).parent, Path(backbones.__file__).parent]


def dangers(source: str) -> list[str]:
    """Imports and calls that run what a file says."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if {a.name.split(".")[0] for a in names} & UNSAFE_MODULES:
                found.append(ast.unparse(node))
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in UNSAFE_MODULES:
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Name(id=name)) if name in UNSAFE:
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Attribute(value=ast.Name(id=of), attr=name)) if (
                name == "read_pickle" or name in UNSAFE_OF.get(of, set())
            ):
                found.append(ast.unparse(node))
            case ast.keyword(arg="shell" | "allow_pickle", value=ast.Constant(value=True)):
                found.append(ast.unparse(node))
            case ast.Call(func=ast.Name(id="Environment"), keywords=given) if not any(
                k.arg == "autoescape" and ast.unparse(k.value) == "True" for k in given
            ):
                found.append(ast.unparse(node))
            case _:
                pass
    return found


def readers_of_paths(source: str) -> list[str]:
    """Calls that give a library a path, which it may take for a URL or a pattern."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in READERS
        and not (node.args and in_memory(node.args[0]))
    ]


def in_memory(argument: ast.expr) -> bool:
    """Whether an argument is a buffer or a file that we opened: BytesIO(...), PythonFile(...)."""
    return isinstance(argument, ast.Call) and getattr(
        argument.func, "attr", getattr(argument.func, "id", "")
    ) in {"BytesIO", "StringIO", "BufferReader", "PythonFile"}


def test_nothing_runs_what_a_file_says() -> None:
    files = [path for root in ROOTS for path in sorted(root.rglob("*.py"))]
    assert len(files) > 200
    assert {str(p): found for p in files if (found := dangers(p.read_text()))} == {}


def test_pages_escape_what_they_show() -> None:
    """`| safe` and `Markup` are for our own text alone: two places, which say what they pass."""
    files = [path for root in ROOTS for path in sorted(root.rglob("*"))]
    pages = [path for path in files if path.suffix == ".j2"]
    assert pages
    assert [p for p in pages if re.search(r"\|\s*safe|autoescape", p.read_text())] == []
    marked = [p.name for p in files if p.suffix == ".py" and "Markup(" in p.read_text()]
    assert sorted(marked) == ["page.py", "pictures.py"]


def test_bars_are_read_from_memory_only() -> None:
    root = Path(forecaster.__file__).parent
    files = [*root.glob("sources/*.py"), *root.glob("store/*.py")]
    assert len(files) > 10
    assert {p.name: f for p in files if (f := readers_of_paths(p.read_text()))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import dump",
        "torch.load(path)",
        "np.load(path)",
        "eval(text)",
        "pd.read_pickle(path)",
        "import subprocess",
        "from subprocess import run",
        "os.system(command)",
        "yaml.load(text)",
        "import shelve",
        "import marshal",
        "Environment(loader=loader)",
        "Environment(autoescape=select)",
        "Template(text)",
    ],
)
def test_the_scan_sees_each_danger(line: str) -> None:
    assert dangers(line) == [line]
    assert dangers("run(command, shell=True)") == ["shell=True"]
    assert dangers("load(path, allow_pickle=True)") == ["allow_pickle=True"]
    assert dangers("Environment(autoescape=True)") == []
    assert dangers("json.loads(text)\nmodel.eval()\nrun.save()") == []


@pytest.mark.parametrize("line", ["pd.read_csv(path)", "pq.ParquetFile(path)", "read_table(a=b)"])
def test_the_scan_sees_each_path(line: str) -> None:
    assert readers_of_paths(line) == [line]
    assert readers_of_paths("pq.ParquetFile(pa.BufferReader(data))") == []
