"""A client on BoringSSL: libcurl as curl_cffi builds it, plain or with Chrome's hello (module=chrome).

Settings as in endpoint.h.
"""

import json
import sys

from curl_cffi import Curl, CurlError, CurlInfo, CurlOpt

settings = dict(argument.split("=", 1) for argument in sys.argv[1:])
VERSIONS = {"1.0": 4, "1.1": 5, "1.2": 6, "1.3": 7}  # CURL_SSLVERSION_TLSv1_x
CIPHERS = {"aes128": "ECDHE-ECDSA-AES128-GCM-SHA256", "aes256": "ECDHE-ECDSA-AES256-GCM-SHA384",
           "chacha": "ECDHE-ECDSA-CHACHA20-POLY1305", "cbc": "ECDHE-ECDSA-AES128-SHA"}  # fmt: skip
GROUPS = {"P-256": "P-256", "P-384": "P-384", "X25519": "X25519"}


def main() -> None:
    """Fetch one page and print the account."""
    curl, body, name = Curl(), bytearray(), settings["sni"]
    if settings.get("module") == "chrome":
        curl.impersonate("chrome131")
    curl.setopt(CurlOpt.URL, f"https://{name}:{settings['port']}/".encode())
    curl.setopt(CurlOpt.RESOLVE, [f"{name}:{settings['port']}:127.0.0.1"])
    curl.setopt(CurlOpt.INTERFACE, b"127.0.0.1")
    curl.setopt(CurlOpt.LOCALPORT, int(settings["local"]))
    curl.setopt(CurlOpt.CAINFO, settings["ca"].encode())
    curl.setopt(CurlOpt.TIMEOUT, int(settings.get("wait", "8")))
    lowest, highest = VERSIONS[settings.get("min", "1.2")], VERSIONS[settings.get("max", "1.3")]
    curl.setopt(CurlOpt.SSLVERSION, lowest | highest << 16)
    if settings.get("cert"):
        curl.setopt(CurlOpt.SSLCERT, settings["cert"].encode())
        curl.setopt(CurlOpt.SSLKEY, settings["key"].encode())
    if settings.get("ciphers"):
        curl.setopt(CurlOpt.SSL_CIPHER_LIST, CIPHERS[settings["ciphers"]].encode())
    if settings.get("groups"):
        curl.setopt(CurlOpt.SSL_EC_CURVES, GROUPS[settings["groups"]].encode())
    curl.setopt(CurlOpt.HTTP_VERSION, 2)  # HTTP/1.1, as the servers of the lab speak it
    curl.setopt(CurlOpt.WRITEFUNCTION, body.extend and (lambda data: body.extend(data) or len(data)))
    account = {"peer": int(settings["local"])}
    try:
        curl.perform()
    except CurlError as error:
        account["error"] = str(error)
    account["done"] = curl.getinfo(CurlInfo.APPCONNECT_TIME) > 0
    account["got"] = len(body)
    curl.close()
    print(json.dumps(account), flush=True)


main()
