"""Servers that are set up by a file: nginx, HAProxy and stunnel. Each function writes it and gives the command."""

from pathlib import Path

from scenarios import Settings

LISTS = {
    "aes128": "ECDHE+AES128+AESGCM",
    "aes256": "ECDHE+AES256+AESGCM",
    "chacha": "ECDHE+CHACHA20",
    "cbc": "ECDHE+AES128+SHA1",
    "ccm8": "ECDHE-ECDSA-AES128-CCM8",
}  # fmt: skip
CURVES = {"P-256": "prime256v1", "P-384": "secp384r1", "X25519": "X25519"}
NGINX = """daemon off; master_process off; worker_processes 1; pid {port}.pid; error_log stderr debug; user root;
events {{ worker_connections 64; }}
http {{ access_log off; client_body_temp_path body; proxy_temp_path body; fastcgi_temp_path body;
  uwsgi_temp_path body; scgi_temp_path body; keepalive_timeout 0;
  server {{ listen 127.0.0.1:{port} ssl; {directives} location / {{ return 200 'ok'; }} }} }}
"""
HAPROXY = """global
  log stdout format raw local0 debug
  ssl-default-bind-options ssl-min-ver TLSv{lowest} ssl-max-ver TLSv{highest}
defaults
  mode http
  timeout client 8s
  timeout server 8s
  timeout connect 8s
frontend lab
  log global
  log-format '{{"peer": %cp, "done": true, "version": "%sslv", "got": %U, "error": "%tsc"}}'
  error-log-format '{{"peer": %cp, "done": false, "error": "%[fc_err_str]; %[ssl_fc_err_str]"}}'
  bind 127.0.0.1:{port} ssl crt {directory}/{port}.combined {options}
  http-request return status 200 content-type text/plain string ok
"""
STUNNEL = """foreground = yes
debug = 7
syslog = no
pid =
[lab]
accept = 127.0.0.1:{port}
cert = {cert}
key = {key}
sslVersionMin = TLSv{lowest}
sslVersionMax = TLSv{highest}
exec = /bin/sh
execArgs = sh {port}.sh
TIMEOUTclose = 1
{options}
"""


def _versions(own: Settings) -> tuple[str, str]:
    lowest, highest = (f"{own.get(name, given)}".removesuffix(".0") for name, given in (("min", "1.2"), ("max", "1.3")))
    return lowest, highest


def _list(own: Settings) -> str:
    old = own.get("min", "1.2") < "1.2"
    return LISTS.get(own.get("ciphers", ""), "ALL" if old else "DEFAULT") + (":@SECLEVEL=0" if old else "")


def nginx(own: Settings, directory: Path) -> list[str]:
    """nginx; where a client's certificate is wrong it takes the handshake and answers 400."""
    (directory / "body").mkdir(exist_ok=True)
    all_versions = ("1", "1.1", "1.2", "1.3")
    lowest, highest = _versions(own)
    spoken = [f"TLSv{version}" for version in all_versions if lowest <= version <= highest]
    lines = [f"ssl_certificate {own['cert']}; ssl_certificate_key {own['key']}; ssl_protocols {' '.join(spoken)};"]
    lines += [f"ssl_ciphers '{_list(own)}'; ssl_session_cache shared:lab:1m;"]
    lines += [f"ssl_ecdh_curve {CURVES[own['groups']]};"] if own.get("groups") else []
    lines += ["ssl_session_tickets off;"] if own.get("tickets") == "0" else []
    lines += ["ssl_reject_handshake on;"] if own.get("alert") else []
    if own.get("auth"):
        lines += [
            f"ssl_client_certificate {own['ca']}; ssl_verify_client {'on' if own['auth'] == 'require' else 'optional'};"
        ]
    configuration = directory / f"{own['port']}.nginx.conf"
    configuration.write_text(NGINX.format(port=own["port"], directives=" ".join(lines)))
    return ["nginx", "-p", str(directory), "-c", str(configuration), "-e", "stderr"]


def haproxy(own: Settings, directory: Path) -> list[str]:
    """HAProxy answering by itself."""
    # a strict HAProxy knows only the names of its certificates, so it gets one of another name
    files = ("client.pem", "client.key") if own.get("alert") else (own["cert"], own["key"])
    combined = "".join((directory / name).read_text() for name in files)
    (directory / f"{own['port']}.combined").write_text(combined)
    lowest, highest = (version if "." in version else f"{version}.0" for version in _versions(own))
    options = [f"ciphers {_list(own)}"]
    options += [f"curves {own['groups']}"] if own.get("groups") else []
    options += ["no-tls-tickets"] if own.get("tickets") == "0" else []
    options += [f"alpn {own['alpn']}"] if own.get("alpn") else []
    options += ["strict-sni"] if own.get("alert") else []
    if own.get("auth"):
        options += [f"ca-file {directory}/{own['ca']} verify {'required' if own['auth'] == 'require' else 'optional'}"]
    configuration = directory / f"{own['port']}.haproxy.cfg"
    configuration.write_text(
        HAPROXY.format(port=own["port"], directory=directory, options=" ".join(options), lowest=lowest, highest=highest)
    )
    return ["haproxy", "-db", "-f", str(configuration)]


def stunnel(own: Settings, directory: Path) -> list[str]:
    """Stunnel in front of a shell that answers one line."""
    options = [f"ciphers = {_list(own)}"]
    options += [f"curves = {own['groups']}"] if own.get("groups") else []
    options += ["options = NO_TICKET"] if own.get("tickets") == "0" else []
    if own.get("auth"):
        options += [
            f"CAfile = {own['ca']}",
            "verifyChain = yes",
            *(["requireCert = yes"] if own["auth"] == "require" else []),
        ]
    lowest, highest = _versions(own)
    first = "printf '220 lab ready\\r\\n'; " if own.get("first") else ""
    answer = r"read line; printf 'HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n'"
    (directory / f"{own['port']}.sh").write_text(first + answer)
    configuration = directory / f"{own['port']}.stunnel.conf"
    configuration.write_text(
        STUNNEL.format(
            port=own["port"], cert=own["cert"], key=own["key"], lowest=lowest, highest=highest,
            options="\n".join(options),
        )
    )  # fmt: skip
    return ["stunnel", str(configuration)]
