"""Record the sample captures again: `python sample_captures/record.py [STORY…]`, as root.

Needs the Python package `cryptography` and, from Debian, tcpdump, iproute2, openssl, curl, nginx, gnutls-bin and tshark
(for editcap). Every story happens in a network namespace of its own, which is gone when this command ends.
"""

import argparse
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recorder import namespace
from recorder.bench import Bench
from recorder.pki import Pki
from recorder.stories import intermittent_alert, mutual_tls, nginx_certificate, old_app, starttls, version_cipher_matrix

HERE = Path(__file__).resolve().parent
SEED = 80  # the same order of connections and the same pauses every time


@dataclass(frozen=True)
class Story:
    """One capture: its file name, the addresses of its clients and servers, and who makes the connections.

    With `key_log`, the clients write their secrets beside it (SSLKEYLOGFILE format).
    """

    file: str
    addresses: tuple[str, ...]
    run: Callable[[Bench], None]
    key_log: bool = False


STORIES = {
    "intermittent-alert": Story("intermittent-alert.pcap", intermittent_alert.ADDRESSES, intermittent_alert.run),
    "intermittent-alert-after": Story(
        "intermittent-alert-after.pcap", intermittent_alert.ADDRESSES, intermittent_alert.run_after
    ),
    "version-cipher-matrix": Story(
        "version-cipher-matrix.pcap", version_cipher_matrix.ADDRESSES, version_cipher_matrix.run
    ),
    "old-app": Story("old-app.pcap", old_app.ADDRESSES, old_app.run),
    "mutual-tls": Story("mutual-tls.pcapng", mutual_tls.ADDRESSES, mutual_tls.run, key_log=True),
    "nginx-certificate": Story("nginx-certificate.pcap", nginx_certificate.ADDRESSES, nginx_certificate.run),
    "starttls": Story("starttls.pcap", starttls.ADDRESSES, starttls.run),
}


def record(story: Story) -> Bench:
    """Record one story and write its truth beside it."""
    namespace.enter()
    for address in story.addresses:
        namespace.add_address(address)
    capture = HERE / story.file
    with tempfile.TemporaryDirectory(prefix="tlspcap-pki-") as directory:
        bench = Bench(Pki(Path(directory)), random.Random(SEED))
        if story.key_log:
            bench.key_log = capture.with_suffix(".keys")
            bench.key_log.unlink(missing_ok=True)
        with namespace.recording(Path(directory) / "recorded.pcap") as recorded:
            story.run(bench)
        _keep(recorded, capture)
    bench.write_truth(capture.with_suffix(".truth.json"))
    return bench


def _keep(recorded: Path, capture: Path) -> None:
    """Put what tcpdump wrote in its place; it writes pcap only, so editcap copies the packets into a pcapng."""
    if capture.suffix == ".pcapng":
        subprocess.run(["editcap", "-F", "pcapng", str(recorded), str(capture)], check=True)
    else:
        shutil.copyfile(recorded, capture)


def main() -> None:
    """Record the stories named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("story", nargs="*", help=f"any of: {', '.join(STORIES)}; all of them by default")
    chosen = parser.parse_args().story or list(STORIES)
    if unknown := set(chosen) - set(STORIES):
        parser.error(f"no such story: {', '.join(sorted(unknown))}")
    for name in chosen:
        bench = record(STORIES[name])
        failed = sum(row["expected"]["outcome"] == "failed" for row in bench.truth)  # type: ignore[index]
        print(f"{STORIES[name].file}: {len(bench.truth)} connections, {failed} failed")


if __name__ == "__main__":
    main()
