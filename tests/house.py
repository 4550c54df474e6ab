"""The house as its rules see it: which room a module lies in, what each room may import, and what the code does.

The tables below are the law that test_architecture.py enforces and the drawing in docs/architecture.md is made from.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent.parent / "tlspcap"

# Each room with its modules, from the ground up.
ROOMS = {
    "errors": ("errors", "version"),
    "workers": ("workers",),
    "transport": ("transport",),
    "wire": ("wire",),
    "tls": ("tls",),
    "tables": ("schema", "rows", "offer_rows", "distinct", "tables", "selection"),
    "reading": ("reading", "file_notes", "spread"),
    "words": ("words", "escape", "display_filter"),
    "measures": ("grouping", "statistics", "failures", "latency", "cohorts", "differences", "both_ends"),
    "findings": ("findings",),
    "plots": ("plots",),
    "report": ("report", "explain", "export", "csv_cells", "lines", "offers"),
    "capture": ("capture", "pair", "progress"),
    "extraction": ("extraction", "anonymize"),
    "nightly": ("nightly",),
    "public": ("__init__",),
    "cli": ("cli", "commands", "__main__"),
}

# What each room may import, inside functions too.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "workers": {"errors"},
    "transport": set(),
    "wire": {"errors", "transport"},
    "tls": {"errors", "transport"},
    "tables": {"errors", "transport", "tls"},
    "reading": {"errors", "workers", "transport", "wire", "tls", "tables"},
    "words": {"tls"},
    "measures": {"errors", "tls", "tables", "words"},
    "findings": {"errors", "tls", "tables", "words", "measures"},
    "plots": {"errors", "tls", "tables", "words", "measures"},
    "report": {"errors", "transport", "tls", "tables", "words", "measures", "findings", "plots"},
    "capture": {"errors", "wire", "tables", "reading", "words", "measures", "findings", "plots", "report"},
    "extraction": {"errors", "transport", "wire", "tls", "reading", "capture"},
    "nightly": {"errors", "workers", "wire", "tables", "reading", "words", "measures", "plots", "report", "capture"},
    "public": {"errors", "tables", "measures", "findings", "plots", "report", "capture", "extraction", "nightly"},
    "cli": {
        "errors", "workers", "tables", "words", "measures", "findings", "plots", "report", "capture", "nightly",
        "public",
    },
}

# What the code of a room must do without, so that it can be read and tested on its own.
FOREIGN = {"tls": {"numpy", "pandas", "dpkt"}, "wire": {"pandas"}}

# Heavy, or optional: imported by the function that needs it, never when a module is loaded.
LAZY = {"matplotlib", "scapy", "dask", "distributed", "fsspec", "pyarrow", "zstandard", "lz4"}


class Import(NamedTuple):
    """One module that another imports."""

    importer: str  # dotted, from below the package: "tls.figures"
    imported: str  # dotted and absolute: "tlspcap.errors", "numpy"
    line: int
    deferred: bool  # inside a function, or for type checkers only


def modules() -> Iterator[tuple[str, Path]]:
    """Give every module of the package: its dotted name below the package, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ".".join(path.relative_to(PACKAGE).with_suffix("").parts), path


def room(module: str) -> str:
    """Tell the room in which a module lies, by its dotted name below the package ("" is the package itself)."""
    top = module.split(".")[0] or "__init__"
    for name, members in ROOMS.items():
        if top in members:
            return name
    raise KeyError(f"{module}: lies in no room; give it one in tests/house.py")


def imports() -> Iterator[Import]:
    """Give every import statement of the package, once for each module that it names."""
    for module, path in modules():
        tree = ast.parse(path.read_text())
        deferred = {id(node) for place in ast.walk(tree) if _defers(place) for node in ast.walk(place)}
        for node in ast.walk(tree):
            for name in _imported(node):
                yield Import(module, name, node.lineno, id(node) in deferred)


def _defers(node: ast.AST) -> bool:
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return function or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports within the package are absolute"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if _is_module(inner) else str(node.module)


def _is_module(dotted: str) -> bool:
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def edges() -> Iterator[tuple[Import, str, str]]:
    """Give every import of one room by another: the statement, who imports, what."""
    for found in imports():
        package, _, inner = found.imported.partition(".")
        if package == "tlspcap" and room(found.importer) != room(inner):
            yield found, room(found.importer), room(inner)


def drawing() -> str:
    """Draw the rooms as a Mermaid flow chart: an arrow points at what is imported, unless other arrows lead there."""
    reach = {name: _reach(name) for name in ROOMS}
    lines = ["```mermaid", "flowchart TD"]
    for name, wanted in ALLOWED.items():
        direct = {one for one in wanted if not any(one in reach[other] for other in wanted if other != one)}
        lines += [f"  {name} --> {one}" for one in ROOMS if one in direct]
    return "\n".join([*lines, "```"])


def _reach(name: str) -> set[str]:
    return ALLOWED[name] | {far for near in ALLOWED[name] for far in _reach(near)}


def listing() -> str:
    """List the rooms with their modules, and what each may import, as a Markdown table."""
    lines = ["| room | modules | may import |", "| --- | --- | --- |"]
    for name, members in ROOMS.items():
        held = ", ".join(f"`{'tlspcap' if member == '__init__' else member}`" for member in members)
        lines.append(f"| {name} | {held} | {', '.join(one for one in ROOMS if one in ALLOWED[name]) or 'nothing'} |")
    return "\n".join(lines)
