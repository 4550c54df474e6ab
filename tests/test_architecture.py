"""The rules of the house, read off the code."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import house
import pytest

MODULES = dict(house.modules())
LONGEST_FUNCTION = 60
LONGEST_MODULE = 400


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Give the syntax tree of every module."""
    return {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def test_every_module_has_a_room() -> None:
    """Every module lies in a room, so that none escapes the rules about imports."""
    for name in MODULES:
        assert house.room(name) in house.ALLOWED


def test_imports_point_one_way() -> None:
    """A room imports only what ALLOWED lists for it, inside functions as well."""
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}: {importer} may not import {imported}"
        for found, importer, imported in house.edges()
        if imported not in house.ALLOWED[importer]
    ]
    assert not wrong, "\n".join(wrong)


def test_the_allowed_imports_run_in_no_circle() -> None:
    """Each room of ALLOWED imports only rooms that stand before it."""
    order = list(house.ROOMS)
    for name, wanted in house.ALLOWED.items():
        later = [one for one in wanted if order.index(one) >= order.index(name)]
        assert not later, f"{name} may import {later}, which do not stand below it"


def test_heavy_and_optional_packages_wait_until_needed() -> None:
    """No module imports matplotlib, scapy, dask or pyarrow when it is loaded."""
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in house.imports()
        if found.imported.split(".")[0] in house.LAZY and not found.deferred
    ]
    assert not wrong, "\n".join(wrong)


def test_rooms_do_without_what_is_foreign_to_them() -> None:
    """The code of tls needs no numpy, pandas or dpkt, that of wire no pandas."""
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in house.imports()
        if found.imported.split(".")[0] in house.FOREIGN.get(house.room(found.importer), ())
    ]
    assert not wrong, "\n".join(wrong)


def loaded(code: str, *packages: str) -> str:
    """Run code in a fresh interpreter; tell which of the packages it loaded, and what it printed before."""
    told = f"; import sys; print([name for name in {packages} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + told], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_import_waits_with_all_that_takes_long() -> None:
    """`import tlspcap` loads neither pandas nor numpy, and none of its own modules but the errors."""
    assert loaded("import tlspcap", "numpy", "pandas", "cryptography", "tlspcap.tls") == "[]"


def test_use_loads_nothing_heavy() -> None:
    """All public names together load neither matplotlib nor scapy nor dask."""
    assert loaded("from tlspcap import *", "matplotlib", "scapy", "dask", "distributed") == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["report", "--help"], ["table", "--help"]])
def test_help_answers_at_once(arguments: list[str]) -> None:
    """`--help` and `--version` load neither pandas nor numpy nor cryptography."""
    code = f"import contextlib, tlspcap.cli\nwith contextlib.suppress(SystemExit): tlspcap.cli.main({arguments})\n"
    assert loaded(f"exec({code!r})", "numpy", "pandas", "cryptography").endswith("[]")


def test_a_process_that_reads_a_share_starts_soon() -> None:
    """What one of several processes that read a capture imports has neither pandas nor dpkt in it."""
    assert loaded("import tlspcap.spread", "pandas", "dpkt", "pyarrow") == "[]"


def test_no_module_hides_a_public_name() -> None:
    """`tlspcap.latency` is the function, also where the module of that name was imported first."""
    code = "import tlspcap.latency; from tlspcap.latency import split; print(tlspcap.latency.__name__)"
    assert loaded(code).splitlines()[0] == "latency"


def test_names_that_do_not_exist_are_attribute_errors() -> None:
    """The package says of a name that it does not have that it does not have it."""
    tlspcap = importlib.import_module("tlspcap")
    assert set(tlspcap.__all__) <= set(dir(tlspcap))
    with pytest.raises(AttributeError, match="no attribute 'pcap'"):
        _ = tlspcap.pcap


def test_functions_are_short(trees: dict[str, ast.Module]) -> None:
    """No function is longer than 60 lines, its docstring included."""
    wrong = [
        f"{name}.{node.name}: {length} lines"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", MODULES)
def test_module_is_short_and_says_what_it_is(name: str) -> None:
    """A module has at most 400 lines and begins with a docstring."""
    text = MODULES[name].read_text()
    assert text.count("\n") <= LONGEST_MODULE
    assert ast.get_docstring(ast.parse(text)), f"{name} begins with no docstring"


def test_public_functions_and_classes_are_documented(trees: dict[str, ast.Module]) -> None:
    """Every function and class without underscore on top of a module, and every such method of one, has a docstring."""
    wrong = [
        f"{name}: {node.name}"
        for name, tree in trees.items()
        for node in _public(tree)
        if ast.get_docstring(node) is None
    ]
    assert not wrong, "\n".join(wrong)


def _public(parent: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Give the functions and classes that a reader of a module may use, methods after their class."""
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def test_public_names_are_declared_and_show_an_example() -> None:
    """Each name of `tlspcap.__all__` exists; functions and classes are documented, functions with an example."""
    tlspcap = importlib.import_module("tlspcap")
    for name in tlspcap.__all__:
        public = getattr(tlspcap, name)
        if inspect.isfunction(public) or inspect.isclass(public):
            assert public.__doc__, f"tlspcap.{name} has no docstring"
        if inspect.isfunction(public):
            assert ">>>" in public.__doc__, f"tlspcap.{name} shows no example"


def test_every_test_states_its_claim() -> None:
    """Every test function has a docstring."""
    wrong = [
        f"{path.name}:{node.lineno} {node.name}"
        for path in sorted(Path(__file__).parent.glob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and ast.get_docstring(node) is None
    ]
    assert not wrong, "\n".join(wrong)


def test_package_prints_only_on_the_command_line(trees: dict[str, ast.Module]) -> None:
    """Nothing but cli calls print."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if house.room(name) != "cli" and isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not wrong, wrong
