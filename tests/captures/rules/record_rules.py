"""Record the captures of this folder again: `python tests/captures/rules/record_rules.py [RULE…]`, as root.

For each rule of docs/findings.md that needs it: a capture that shows its cause and nothing else, and the same servers
and clients with that set right. Needs Debian's tcpdump, iproute2, openssl, gnutls-bin, nginx-light, haproxy and a JDK.
truth.json holds what was set up (the docstrings of rule_cases.py), and what the clients said of each connection.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import rule_cases as cases
from rule_bench import Bench, namespace

HERE = Path(__file__).resolve().parent


def record(name: str, case: cases.Case, healthy: bool) -> dict[str, object]:
    """Record one capture; return what is true of it."""
    with tempfile.TemporaryDirectory(prefix="tlspcap-rules-") as folder:
        bench = Bench(Path(folder))
        with namespace.recording(bench.folder / "all.pcap") as recorded:
            case.run(bench, healthy)
        # the way from a load balancer to what is behind it is left out, as it is in a capture before it
        keep = ["-Y", " and ".join(f"!(ip.addr == {address})" for address in bench.hidden)] if bench.hidden else []
        target = HERE / f"{name}.pcap"
        subprocess.run(["tshark", "-r", recorded, *keep, "-F", "pcap", "-w", target], check=True, capture_output=True)
        if bench.keeps_root:
            target.with_suffix(".pem").write_bytes(bench.trust.read_bytes())
    print(f"{target.name:45} {target.stat().st_size:7,} {bench.said}")  # noqa: T201
    what = "the same, set right" if healthy else " ".join((case.run.__doc__ or "").split())
    return {"rule": case.rule, "set_up": what, "clients_said": bench.said}


def main() -> None:
    """Record the captures of all rules, or of those named."""
    namespace.enter()
    path = HERE / "truth.json"
    truth = json.loads(path.read_text()) if path.exists() else {}
    for case in cases.CASES:
        if sys.argv[1:] and not {case.rule, case.name} & set(sys.argv[1:]):
            continue
        truth[case.name] = record(case.name, case, healthy=False)
        if case.has_twin:
            truth[f"{case.name}-healthy"] = record(f"{case.name}-healthy", case, healthy=True)
    path.write_text(json.dumps(dict(sorted(truth.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
