"""The examples of docs/deployment.md: what they run is what there is."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tlspcap import cli

DOCS = Path(__file__).parent.parent / "docs"
KINDS = {"Service", "Deployment", "CronJob", "NetworkPolicy"}


def documents() -> list[dict[str, Any]]:
    """The objects of the Kubernetes example."""
    return list(yaml.safe_load_all((DOCS / "deployment" / "kubernetes.yaml").read_text()))


def pods() -> list[dict[str, Any]]:
    """The pods that they describe, with their labels."""
    found = []
    for document in documents():
        spec = document["spec"]
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        found += [spec["template"]] if "template" in spec else []
    return found


def commands() -> list[str]:
    """Every command line in the examples."""
    lines = [shlex.join(c["command"]) for pod in pods() for c in pod["spec"]["containers"]]
    lines += re.findall(r"^ExecStart=/usr/bin/env (.*)$", (DOCS / "deployment" / "tlspcap.service").read_text(), re.M)
    lines += re.findall(r"^[\d*/ ]+ tlspcap  (.*)$", (DOCS / "deployment" / "crontab").read_text(), re.M)
    for page in ("deployment.md", "nightly.md"):
        text = (DOCS / page).read_text()
        for block in re.findall(r"```(?:sh|text)\n(.*?)```", text, re.S):
            lines += [re.sub(r"^[\d*/ ]{9,}|\s+#.*$", "", line).strip() for line in block.splitlines()]
    wanted = re.compile(r"(python -m )?(tlspcap|dask) (batch|check|trend|scheduler|worker) ")
    return sorted({line.removeprefix("python -m ") for line in lines if wanted.match(line)})


@pytest.mark.parametrize("line", commands())
def test_command_lines_parse(line: str) -> None:
    """Each is taken by the parser of the command that it calls."""
    program, *arguments = shlex.split(line)
    if program == "tlspcap":
        assert cli._parser().parse_args(arguments)
        return
    from distributed.cli import dask_scheduler, dask_worker

    kind, *options = arguments
    command = {"scheduler": dask_scheduler, "worker": dask_worker}[kind].main
    assert command.make_context(kind, options)


def test_there_are_examples_of_every_kind() -> None:
    """The search for command lines finds those of all four files and of the pages."""
    kinds = {tuple(shlex.split(line)[:2]) for line in commands()}
    programs = {"tlspcap": ("batch", "check", "trend"), "dask": ("scheduler", "worker")}
    assert kinds == {(program, kind) for program, all_kinds in programs.items() for kind in all_kinds}
    assert sum("--scheduler" in line for line in commands()) >= 3


def test_the_kubernetes_example_fits_together() -> None:
    """Selectors select the pods, the address is that of the service, and volumes that are mounted are there."""
    by_kind = {(document["kind"], document["metadata"]["name"]): document for document in documents()}
    assert {kind for kind, _ in by_kind} == KINDS
    service = by_kind["Service", "tlspcap-scheduler"]["spec"]
    labels = [pod["metadata"]["labels"] for pod in pods()]
    assert sum(service["selector"].items() <= found.items() for found in labels) == 1
    for (kind, _), document in by_kind.items():
        if kind == "Deployment":
            spec = document["spec"]
            assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    address = f"tcp://tlspcap-scheduler:{service['ports'][0]['port']}"
    for pod in pods():
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", ())}
        for container in pod["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", ())} <= volumes
            assert all(part == address for part in container["command"] if part.startswith("tcp://"))


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say about the service and its timer."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in ("tlspcap.service", "tlspcap.timer"):
        shutil.copy(DOCS / "deployment" / unit, tmp_path)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in found.stderr.splitlines() if "tlspcap" in line]
    if found.returncode and not ours:
        pytest.skip(f"systemd-analyze does not work here: {found.stderr.strip()[:200]}")
    assert (found.returncode, ours) == (0, [])
    timer = "".join(re.findall(r"OnCalendar=(.*)", (DOCS / "deployment" / "tlspcap.timer").read_text()))
    assert subprocess.run(["systemd-analyze", "calendar", timer], capture_output=True, check=False).returncode == 0
