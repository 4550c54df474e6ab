"""Rewrite the registries of this folder from IANA's own CSV downloads.

Run as::

    python -m tlspcap.tls.iana.refresh FOLDER_OR_URL… [--date YYYY-MM-DD] [--into FOLDER]

A folder holds files as IANA names them (`tls-parameters-4.csv`, …); a URL is one such file, or ends in a slash and
has IANA's groups of registries below it, as https://www.iana.org/assignments/ has. Without --date, the day of download
(of the file's last change) stands as the registry's date.
"""

import argparse
import csv
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Registry:
    """One registry: the file it is kept in here, IANA's file, its title, and the width of its codes."""

    file: str
    source: str
    title: str
    hexadecimal: bool = False

    @property
    def path(self) -> str:
        """Where IANA has the file below its assignments: those of extensions are a group of their own."""
        group = "tls-extensiontype-values" if self.source.startswith(_OF_EXTENSIONS) else "tls-parameters"
        return f"{group}/{self.source}"


_OF_EXTENSIONS = "tls-extensiontype-values", "tls-certificate-compression"  # how the names of their files begin
REGISTRIES = (
    Registry("client-certificate-types.csv", "tls-parameters-2.csv", "TLS ClientCertificateType Identifiers"),
    Registry("cipher-suites.csv", "tls-parameters-4.csv", "TLS Cipher Suites", hexadecimal=True),
    Registry("content-types.csv", "tls-parameters-5.csv", "TLS ContentType"),
    Registry("alerts.csv", "tls-parameters-6.csv", "TLS Alerts"),
    Registry("handshake-types.csv", "tls-parameters-7.csv", "TLS HandshakeType"),
    Registry("supported-groups.csv", "tls-parameters-8.csv", "TLS Supported Groups"),
    Registry("signature-schemes.csv", "tls-signaturescheme.csv", "TLS SignatureScheme", hexadecimal=True),
    Registry("psk-modes.csv", "tls-pskkeyexchangemode.csv", "TLS PskKeyExchangeMode"),
    Registry("extension-types.csv", "tls-extensiontype-values-1.csv", "TLS ExtensionType Values"),
    Registry("certificate-types.csv", "tls-extensiontype-values-3.csv", "TLS Certificate Types"),
    Registry(
        "certificate-compressions.csv",
        "tls-certificate-compression-algorithm-ids.csv",
        "TLS Certificate Compression Algorithm IDs",
    ),
)
_NOT_A_NAME = re.compile(r"(?i)^(unassigned|reserved\b)")  # `hello_request_RESERVED` is a name, `Reserved for …` none
# What IANA calls the two columns that are kept; most files have the first of each
_VALUES = "Value", "Algorithm Number"
_NAMES = "Description", "Extension Name", "Name"
_LONGEST_DOWNLOAD = 10_000_000  # bytes; the largest of them has 60,000


def code_of(value: str) -> int | None:
    """Return the code of IANA's value field, None for a range.

    >>> code_of("0x13,0x01"), code_of("43"), code_of("0x0804"), code_of("0x00,0x1C-1D"), code_of("42-255")
    (4865, 43, 2052, None, None)
    """
    parts = [part.strip() for part in value.split(",")]
    try:
        numbers = [int(part, 0) for part in parts]
    except ValueError:  # a range, or a star
        return None
    code = 0
    for number in numbers:
        code = code << 8 | number
    return code


def entries(text: str) -> Iterator[tuple[int, str]]:
    """Yield (code, description) of every single assigned code point in one of IANA's CSV files, in file order."""
    rows = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    at, described = (next((header.index(name) for name in names if name in header), -1) for names in (_VALUES, _NAMES))
    if at < 0 or described < 0:
        raise ValueError(f"no columns Value and Description: {', '.join(header) or 'empty file'}")
    for row in rows:
        if len(row) <= described:
            continue
        code, description = code_of(row[at]), " ".join(row[described].split())
        if code is not None and description and not _NOT_A_NAME.match(description):
            yield code, description


def rendered(registry: Registry, text: str, day: date) -> str:
    """Return our file for one of IANA's: a comment with name and date, then value and description."""
    out = io.StringIO()
    out.write(f"# {registry.title}, IANA {registry.source}, {day.isoformat()}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["Value", "Description"])
    for code, description in entries(text):
        writer.writerow([f"0x{code:04x}" if registry.hexadecimal else code, description])
    return out.getvalue()


def _download(url: str) -> str:
    from urllib.request import urlopen

    with urlopen(url, timeout=60) as answer:
        body: bytes = answer.read(_LONGEST_DOWNLOAD)
    return body.decode("utf-8-sig")


def _sources(place: str) -> Iterator[tuple[Registry, str, date]]:
    """Yield what a folder or URL holds: the registry, IANA's text, and its day."""
    is_url = place.startswith(("https://", "http://"))
    today = datetime.now(UTC).date()
    for registry in REGISTRIES:
        if is_url and (place.endswith("/") or place.rsplit("/", 1)[-1] == registry.source):
            yield registry, _download(place + registry.path if place.endswith("/") else place), today
        elif not is_url and (path := Path(place) / registry.source).is_file():
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
            yield registry, path.read_text(encoding="utf-8-sig"), changed


def refresh(places: list[str], into: Path, day: date | None = None) -> list[Path]:
    """Rewrite the registries that `places` hold and return the files written."""
    written = []
    for place in places:
        for registry, text, found_day in _sources(place):
            target = into / registry.file
            target.write_text(rendered(registry, text, day or found_day), encoding="utf-8")
            written.append(target)
    return written


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 nothing found."""
    parser = argparse.ArgumentParser(prog="python -m tlspcap.tls.iana.refresh", description="Refresh the registries.")
    parser.add_argument("places", nargs="+", metavar="FOLDER_OR_URL")
    parser.add_argument("--date", type=date.fromisoformat, help="the registry's date, YYYY-MM-DD")
    parser.add_argument("--into", type=Path, default=Path(__file__).parent, help="folder of the files to rewrite")
    options = parser.parse_args(arguments)
    written = refresh(options.places, options.into, options.date)
    for path in written:
        sys.stdout.write(f"{path}\n")
    if not written:
        sys.stderr.write(f"none of {', '.join(registry.source for registry in REGISTRIES)} found\n")
    return 0 if written else 2


if __name__ == "__main__":
    sys.exit(main())
