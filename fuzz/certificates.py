"""Target: certificates, by the strict reader and the lenient one."""

import contextlib
from datetime import datetime

from fuzz import seeds as samples
from tlspcap.tls import der
from tlspcap.tls.certificates import Facts, describe
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.messages import Certificate, parse

LONGEST = 4_096


def check(data: bytes) -> None:
    """Whatever the bytes, there are facts in text and UTC, and the lenient reader reads what the strict one does."""
    facts = describe(data)
    for moment in (facts.not_before, facts.not_after):
        assert moment is None or (isinstance(moment, datetime) and moment.utcoffset() is not None)
    for text in (facts.subject, facts.issuer, *facts.san, facts.trouble):
        assert text is None or isinstance(text, str)
    with contextlib.suppress(Malformed):
        bones = der.skeleton(data)
        if facts.trouble is None:
            _agree(facts, bones)
    for reader in (der.elements, der.name, der.alternative_names, der.is_ca, der.identifier, der.time):
        with contextlib.suppress(Malformed):
            reader(data)


def _agree(facts: Facts, bones: der.Skeleton) -> None:
    serial = f"{abs(bones.serial):x}"
    assert facts.serial is not None
    assert facts.serial.lstrip("-0") == serial.lstrip("0")
    assert der.time(bones.not_before) == facts.not_before
    assert der.time(bones.not_after) == facts.not_after
    assert (bones.issuer == bones.subject) == facts.self_signed
    der.name(bones.subject)
    names = der.alternative_names(bones.extensions.get("2.5.29.17", b""))
    assert len(names) <= len(facts.san)
    assert der.is_ca(bones.extensions.get("2.5.29.19", b"")) == facts.is_ca


def seeds() -> list[bytes]:
    """Every certificate of the samples, and the parts of one."""
    found = [bytes.fromhex("170d3439313233313233353935395a"), b"20491231235959+0130", bytes.fromhex("30058203612e62")]
    for follower, raw in samples.messages():
        message = parse(raw.code, raw.body, follower.account.version if follower.account else None)
        found += message.certificates if isinstance(message, Certificate) else []
    return samples.distinct(found, LONGEST)
