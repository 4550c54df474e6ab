"""Record the captures of this folder again: `python tests/captures/keys/record.py`, as root.

Needs Debian's tcpdump, iproute2, openssl and gnutls-bin. Each case is one connection between openssl s_client and
s_server, or gnutls-cli and gnutls-serv, in a network namespace of its own. Clients write their secrets into a key log.
The truth is what each case was made to do; `test_keys.py` compares the capture with it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "sample_captures"))

from recorder import namespace  # noqa: E402 - found by the line above

ADDRESS = "127.0.0.1"
LINES = b"hello\n"
LONG = b"hello\n" + b"x" * 6000 + b"\nagain\n"  # the second line makes a record that is too long for an alert
REPLY_TIME = 0.4  # seconds for an answer to come
REQUIRED = "-Verify 1 -verify_return_error"  # a client certificate
CHOSEN = {"TLS 1.0": "-tls1", "TLS 1.1": "-tls1_1", "TLS 1.2": "-tls1_2", "TLS 1.3": "-tls1_3"}


@dataclass(frozen=True)
class Case:
    """One connection: its name, the options of both programs, and what must be said of it."""

    name: str
    client: str
    server: str = ""
    lines: bytes = LINES
    certificate: str = "ec"
    outcome: str = "established"
    alert: str | None = None
    side: str | None = None
    restart: bool = True  # begin with a server of its own
    opens: bool = True  # the cipher suite is one that keys open
    early_data: str = "none"
    alpn: str | None = None


def openssl(version: str, cipher: str = "", **more: object) -> Case:
    """One cipher suite of OpenSSL, by its own name."""
    options = "-cipher DEFAULT:@SECLEVEL=0"
    if cipher:
        options = f"-ciphersuites {cipher}" if version == "TLS 1.3" else f"-cipher {cipher}:@SECLEVEL=0"
    client_options = f"{CHOSEN[version]} {options} {more.pop('client', '')}"
    return Case(f"{version} {cipher}", client_options, **more)  # type: ignore[arg-type]  # the fields of a Case


OPENSSL = [
    openssl("TLS 1.3", "TLS_AES_128_GCM_SHA256", lines=LONG),
    *(openssl("TLS 1.3", name) for name in (
        "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256",
    )),
    *(openssl("TLS 1.2", name) for name in (
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-CAMELLIA256-SHA384",
    )),
    openssl("TLS 1.2", "ECDHE-ECDSA-AES256-SHA384", client="-no_etm"),
    openssl("TLS 1.2", "ECDHE-ECDSA-AES128-SHA", client="-no_etm"),
    openssl("TLS 1.2", "ECDHE-ECDSA-ARIA128-GCM-SHA256", opens=False),
    openssl("TLS 1.2", "ECDHE-ECDSA-NULL-SHA", opens=False),
    openssl("TLS 1.1", "ECDHE-ECDSA-AES128-SHA"),
    openssl("TLS 1.1", "ECDHE-ECDSA-AES256-SHA", client="-no_etm"),
    openssl("TLS 1.0", "ECDHE-ECDSA-AES128-SHA"),
    openssl("TLS 1.0", "ECDHE-ECDSA-AES256-SHA", client="-no_etm", lines=LONG),
    openssl("TLS 1.0", "AES128-SHA", certificate="rsa"),
]  # fmt: skip
SITUATIONS = [
    Case("application protocol", "-tls1_3 -alpn h2,http/1.1", "-alpn http/1.1", alpn="http/1.1"),
    Case("retry", "-tls1_3 -groups X25519:P-384", "-groups P-384"),
    Case("key updates", "-tls1_3", lines=b"K\nk\nhello\n"),
    Case("closes at once", "-tls1_3", lines=b""),
    Case("closes at once, no tickets", "-tls1_3", "-num_tickets 0", lines=b""),
    Case("closes at once, TLS 1.2", "-tls1_2", lines=b""),
    Case("session, first", "-tls1_3 -sess_out {session}"),
    Case("session, again", "-tls1_3 -sess_in {session}", restart=False),
    Case("ticket of TLS 1.2, first", "-tls1_2 -sess_out {session}"),
    Case("ticket of TLS 1.2, again", "-tls1_2 -sess_in {session}", restart=False),
    Case("early data, first", "-tls1_3 -sess_out {session}", "-early_data -no_anti_replay"),
    Case("early data, accepted", "-tls1_3 -sess_in {session} -early_data {early}",
         restart=False, early_data="accepted"),
    Case("early data, the server has forgotten", "-tls1_3 -sess_in {session} -early_data {early}",
         "-early_data -no_anti_replay", early_data="rejected"),
    Case("early data, retry", "-tls1_3 -groups X25519:P-384 -sess_in {session} -early_data {early}",
         "-early_data -no_anti_replay -groups P-384", early_data="rejected"),
    Case("client certificate", "-tls1_3 -cert {client}.pem -key {client}.key", REQUIRED),
    Case("no client certificate", "-tls1_3", REQUIRED,
         outcome="failed", alert="certificate_required", side="server"),
    Case("unknown client certificate", "-tls1_3 -cert {stranger}.pem -key {stranger}.key", REQUIRED,
         outcome="failed", alert="unknown_ca", side="server"),
    Case("client certificate, TLS 1.2", "-tls1_2 -cert {client}.pem -key {client}.key", REQUIRED),
    Case("no client certificate, TLS 1.2", "-tls1_2", REQUIRED,
         outcome="failed", alert="handshake_failure", side="server"),
]  # fmt: skip
GNUTLS = [
    *(Case(f"GnuTLS {name}", f"--insecure --priority NONE:+{words}:+CTYPE-ALL:+COMP-NULL:%NO_ETM", certificate="rsa")
      for name, words in (
        ("TLS 1.0 RC4", "VERS-TLS1.0:+RSA:+ARCFOUR-128:+SHA1:+SIGN-ALL"),
        ("TLS 1.2 RC4-MD5", "VERS-TLS1.2:+RSA:+ARCFOUR-128:+MD5:+SIGN-ALL"),
        ("TLS 1.0 3DES", "VERS-TLS1.0:+RSA:+3DES-CBC:+SHA1:+SIGN-ALL"),
        ("TLS 1.2 3DES", "VERS-TLS1.2:+RSA:+3DES-CBC:+SHA1:+SIGN-ALL"),
        ("TLS 1.2 Camellia CBC", "VERS-TLS1.2:+RSA:+CAMELLIA-128-CBC:+SHA256:+SIGN-ALL"),
        ("TLS 1.2 AES GCM", "VERS-TLS1.2:+ECDHE-RSA:+AES-128-GCM:+AEAD:+SIGN-ALL:+GROUP-ALL"),
      )),
    Case("GnuTLS TLS 1.2 Camellia GCM",
         "--insecure --priority NORMAL:-CIPHER-ALL:+CAMELLIA-256-GCM:-VERS-ALL:+VERS-TLS1.2", opens=False),
    Case("GnuTLS TLS 1.3", "--insecure --priority NORMAL:-VERS-ALL:+VERS-TLS1.3"),
    Case("GnuTLS TLS 1.3, client refuses", "--priority NORMAL:-VERS-ALL:+VERS-TLS1.3",
         outcome="failed", side="client", alert="bad_certificate"),
    Case("GnuTLS TLS 1.3, no client certificate", "--insecure --priority NORMAL:-VERS-ALL:+VERS-TLS1.3",
         "--require-client-cert", outcome="failed", side="server", alert="certificate_required"),
    Case("GnuTLS TLS 1.3, no tickets", "--insecure --priority NORMAL:-VERS-ALL:+VERS-TLS1.3", "--noticket"),
]  # fmt: skip
GROUPS = {"openssl": OPENSSL, "situations": SITUATIONS, "gnutls": GNUTLS}


def certificates(folder: Path) -> None:
    """Make an authority, servers with keys of two kinds, a client, and a client that nobody knows."""
    ec, rsa = "-newkey ec -pkeyopt ec_paramgen_curve:P-256", "-newkey rsa:2048"
    run(f"openssl req -x509 -nodes {ec} -days 3650 -subj /CN=authority -keyout {folder}/ca.key -out {folder}/ca.pem")
    for name, kind in (("ec", ec), ("rsa", rsa), ("client", ec)):
        run(f"openssl req -nodes {kind} -subj /CN={name}.example -keyout {folder}/{name}.key -out {folder}/{name}.csr")
        issue = f"-CA {folder}/ca.pem -CAkey {folder}/ca.key -CAcreateserial -days 3650"
        run(f"openssl x509 -req -in {folder}/{name}.csr {issue} -out {folder}/{name}.pem")
    run(f"openssl req -x509 -nodes {ec} -subj /CN=stranger -keyout {folder}/stranger.key -out {folder}/stranger.pem")


def run(command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command.split(), check=True, capture_output=True)


def server(case: Case, port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start the server of a case and wait until it listens."""
    pair = f"{folder}/{case.certificate}"
    if case in GNUTLS:
        priority = "NORMAL:+ARCFOUR-128:+3DES-CBC:+MD5:+SHA1:+SHA256:+RSA:+CAMELLIA-128-CBC:+CAMELLIA-256-GCM:+VERS-ALL"
        command = f"gnutls-serv --echo -p {port} --x509certfile {pair}.pem --x509keyfile {pair}.key"
        command += f" --x509cafile {folder}/ca.pem --priority {priority} {case.server}"
    else:
        mode = "" if "early" in case.server else "-rev"
        command = f"openssl s_server -accept {port} -cert {pair}.pem -key {pair}.key -CAfile {folder}/ca.pem {mode}"
        suites = ":".join(one.name.removeprefix("TLS 1.3 ") for one in OPENSSL if one.name.startswith("TLS 1.3"))
        command += f" -cipher ALL:eNULL:@SECLEVEL=0 -ciphersuites {suites} {case.server}"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    namespace.wait_until_listening(ADDRESS, port)
    return process


def client(case: Case, port: int, folder: Path, keys: Path) -> str:
    """Make the connection of a case; return what the client printed."""
    options = case.client.format(
        session=folder / "session", early=folder / "early", client=folder / "client", stranger=folder / "stranger"
    )
    environment = dict(os.environ)
    if case in GNUTLS:
        command = f"gnutls-cli --no-ca-verification -p {port} {ADDRESS} --sni-hostname=server.example {options}"
        command = command.replace("--no-ca-verification ", "") if "--insecure" not in options else command
        environment["SSLKEYLOGFILE"] = str(keys)
    else:
        command = f"openssl s_client -connect {ADDRESS}:{port} -keylogfile {keys} -servername server.example {options}"
    process = subprocess.Popen(
        command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    assert process.stdin is not None
    try:
        for line in case.lines.splitlines(keepends=True):
            time.sleep(REPLY_TIME)
            process.stdin.write(line)
            process.stdin.flush()
        time.sleep(REPLY_TIME)
    except BrokenPipeError:  # it has ended: it was refused
        pass
    try:
        return process.communicate(timeout=10)[0].decode(errors="replace")
    except (BrokenPipeError, ValueError):
        return ""


def record(group: str, cases: list[Case]) -> None:
    """Record one group of cases, its key log and its truth."""
    keys = HERE / f"{group}.keys"
    keys.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="tlspcap-keys-") as name:
        folder = Path(name)
        certificates(folder)
        (folder / "early").write_bytes(b"early\n" * 200)
        port, process = 4000, None
        with namespace.recording(HERE / f"{group}.pcap"):
            for case in cases:
                if case.restart or process is None:
                    if process is not None:
                        process.kill()
                        process.wait()
                    port += 1
                    process = server(case, port, folder)
                told = client(case, port, folder, keys)
                print(f"{case.name:45} {told.strip().splitlines()[-1][:70] if told.strip() else ''}")  # noqa: T201
                time.sleep(0.2)
        if process is not None:
            process.kill()
            process.wait()
    truth = [
        {name: getattr(case, name) for name in ("name", "outcome", "side", "alert", "opens", "early_data", "alpn")}
        for case in cases
    ]
    (HERE / f"{group}.json").write_text(json.dumps(truth, indent=1) + "\n")


def main() -> None:
    """Record every group, or those named."""
    namespace.enter()
    for group, cases in GROUPS.items():
        if not sys.argv[1:] or group in sys.argv[1:]:
            record(group, cases)


if __name__ == "__main__":
    main()
