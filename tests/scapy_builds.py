"""Strategies that let scapy build TLS messages, each with what was put into it in the library's own words."""

from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st
from scapy_tls import layers

from tlspcap.tls.names import is_grease, version_rank

TLS10, TLS12, TLS13 = 0x0301, 0x0303, 0x0304
Put = dict[str, Any]  # attribute of the parsed message -> what it must be


class Built(NamedTuple):
    """One handshake message as scapy builds it, its header of four bytes included."""

    packet: Any
    version: int  # whose form it has
    suite: int  # code of the suite that ServerKeyExchange is read by
    expected: Put

    @property
    def code(self) -> int:
        """Its handshake type."""
        return bytes(self.packet)[0]

    @property
    def body(self) -> bytes:
        """What stands behind type and length."""
        return bytes(self.packet)[4:]


class Extension(NamedTuple):
    """One extension: scapy's packet, and the attributes of the hello that it decides."""

    packet: Any
    expected: Put


CODES = st.integers(0, 0xFFFF).filter(lambda code: not is_grease(code))
LISTS = st.lists(CODES, min_size=1, max_size=8)
SHORT = st.binary(min_size=1, max_size=20)
PROTOCOLS = st.lists(SHORT.filter(lambda name: not is_grease(int.from_bytes(name[:2]))), min_size=1, max_size=3)
# types that nothing reads, none of them GREASE: what scapy knows as other classes is left out
UNREAD = st.integers(1000, 60_000).filter(lambda code: not is_grease(code) and code not in (13172, 1234))


def text(name: bytes) -> str:
    """Return a name as the library writes it."""
    return name.decode("ascii", "backslashreplace")


def _client_extensions() -> dict[str, st.SearchStrategy[Extension]]:
    tls = layers()

    def flag(attribute: str, packet: Callable[[], Any]) -> st.SearchStrategy[Extension]:
        return st.builds(lambda: Extension(packet(), {attribute: True}))

    share = st.tuples(CODES, st.binary(min_size=1, max_size=40))
    return {
        "server_name": SHORT.map(
            lambda name: Extension(
                tls.TLS_Ext_ServerName(servernames=[tls.ServerName(servername=name)]), {"server_name": text(name)}
            )
        ),
        "status_request": flag("status_request", lambda: tls.TLS_Ext_CSR(stype=1, req=tls.OCSPStatusRequest())),
        "groups": LISTS.map(lambda codes: Extension(tls.TLS_Ext_SupportedGroups(groups=codes), {"groups": (*codes,)})),
        "point_formats": st.lists(st.integers(0, 2), max_size=3).map(
            lambda formats: Extension(tls.TLS_Ext_SupportedPointFormat(ecpl=formats), {"point_formats": (*formats,)})
        ),
        "schemes": LISTS.map(
            lambda codes: Extension(tls.TLS_Ext_SignatureAlgorithms(sig_algs=codes), {"signature_schemes": (*codes,)})
        ),
        "heartbeat": flag("heartbeat", lambda: tls.TLS_Ext_Heartbeat(heartbeat_mode=1)),
        "alpn": PROTOCOLS.map(
            lambda names: Extension(
                tls.TLS_Ext_ALPN(protocols=[tls.ProtocolName(protocol=name) for name in names]),
                {"alpn": tuple(text(name) for name in names)},
            )
        ),
        "encrypt_then_mac": flag("encrypt_then_mac", tls.TLS_Ext_EncryptThenMAC),
        "extended_master_secret": flag("extended_master_secret", tls.TLS_Ext_ExtendedMasterSecret),
        "ticket": st.binary(max_size=60).map(
            lambda ticket: Extension(tls.TLS_Ext_SessionTicket(ticket=ticket), {"session_ticket": ticket})
        ),
        "versions": st.lists(CODES, min_size=1, max_size=5).map(
            lambda codes: Extension(
                tls.TLS_Ext_SupportedVersion_CH(versions=codes),
                {"offered_versions": tuple(sorted(codes, key=version_rank, reverse=True))},
            )
        ),
        "shares": st.lists(share, min_size=1, max_size=3).map(
            lambda pairs: Extension(
                tls.TLS_Ext_KeyShare_CH(
                    client_shares=[tls.KeyShareEntry(group=group, key_exchange=key) for group, key in pairs]
                ),
                {"key_share_groups": tuple(group for group, _ in pairs)},
            )
        ),
        "early_data": flag("early_data", tls.TLS_Ext_EarlyDataIndication),
        "renegotiation": flag("secure_renegotiation", tls.TLS_Ext_RenegotiationInfo),
        "ech": SHORT.map(lambda content: Extension(tls.TLS_Ext_Unknown(type=0xFE0D, val=content), {"ech": True})),
        "psk_modes": st.just(Extension(tls.TLS_Ext_PSKKeyExchangeModes(kxmodes=[1]), {})),
        "cookie": SHORT.map(lambda cookie: Extension(tls.TLS_Ext_Cookie(cookie=cookie), {})),
        "unread": st.builds(lambda code, data: Extension(tls.TLS_Ext_Unknown(type=code, val=data), {}), UNREAD, SHORT),
        "psk": SHORT.map(
            lambda ticket: Extension(
                tls.TLS_Ext_PreSharedKey_CH(
                    identities=[tls.PSKIdentity(identity=tls.Raw(ticket), obfuscated_ticket_age=7)],
                    binders=[tls.PSKBinderEntry(binder=bytes(32))],
                ),
                {"psk_offered": True},
            )
        ),
    }


def _server_extensions() -> dict[str, st.SearchStrategy[Extension]]:
    tls = layers()
    client = _client_extensions()
    return {
        **{name: client[name] for name in ("encrypt_then_mac", "extended_master_secret", "renegotiation", "unread")},
        "version": CODES.map(lambda code: Extension(tls.TLS_Ext_SupportedVersion_SH(version=code), {"version": code})),
        "share": st.builds(
            lambda group, key: Extension(
                tls.TLS_Ext_KeyShare_SH(server_share=tls.KeyShareEntry(group=group, key_exchange=key)),
                {"key_share_group": group},
            ),
            CODES,
            SHORT,
        ),
        "psk": st.just(Extension(tls.TLS_Ext_PreSharedKey_SH(selected_identity=0), {"psk_selected": True})),
        "alpn": SHORT.map(
            lambda name: Extension(tls.TLS_Ext_ALPN(protocols=[tls.ProtocolName(protocol=name)]), {"alpn": text(name)})
        ),
        "ticket": st.just(Extension(tls.TLS_Ext_SessionTicket(ticket=b""), {"session_ticket": True})),
        "status": st.just(Extension(tls.TLS_Ext_Unknown(type=5, val=b""), {"status_request": True})),
    }


@st.composite
def _some(draw: st.DrawFn, kinds: dict[str, st.SearchStrategy[Extension]]) -> list[Extension]:
    """Draw some of the extensions, each at most once, in any order."""
    return [draw(kinds[name]) for name in draw(st.permutations(sorted(kinds)))[: draw(st.integers(0, len(kinds)))]]


NOTHING_OFFERED: Put = {
    "server_name": None, "status_request": False, "groups": (), "point_formats": (), "signature_schemes": (),
    "heartbeat": False, "alpn": (), "encrypt_then_mac": False, "extended_master_secret": False, "session_ticket": None,
    "key_share_groups": (), "early_data": False, "secure_renegotiation": False, "ech": False, "psk_offered": False,
    "malformed_extensions": (),
}  # fmt: skip
NOTHING_CHOSEN: Put = {
    "key_share_group": None, "psk_selected": False, "alpn": None, "session_ticket": False, "status_request": False,
    "secure_renegotiation": False, "extended_master_secret": False, "encrypt_then_mac": False,
    "malformed_extensions": (),
}  # fmt: skip


def _merged(start: Put, extensions: list[Extension]) -> Put:
    raw = tuple((int(one.packet.type), bytes(one.packet)[4:]) for one in extensions)
    return start | {key: value for one in extensions for key, value in one.expected.items()} | {"raw": raw}


@st.composite
def client_hellos(draw: st.DrawFn) -> Built:
    """Draw a ClientHello with any of the extensions."""
    tls, extensions = layers(), draw(_some(_client_extensions()))
    version, session_id, suites = draw(st.sampled_from([0x0300, TLS10, TLS12])), draw(SHORT), draw(LISTS)
    packet = tls.TLSClientHello(
        version=version,
        gmt_unix_time=draw(st.integers(1, 2**31)),
        random_bytes=draw(st.binary(min_size=28, max_size=28)),
        sid=session_id,
        ciphers=suites,
        ext=[one.packet for one in extensions],
    )
    start = NOTHING_OFFERED | {"offered_versions": (version,), "legacy_version": version, "session_id": session_id}
    expected = _merged(start | {"cipher_suites": (*suites,), "compression_methods": b"\0"}, extensions)
    expected["secure_renegotiation"] |= 0x00FF in suites
    return Built(packet, version, 0, expected)


@st.composite
def server_hellos(draw: st.DrawFn) -> Built:
    """Draw a ServerHello with any of its extensions."""
    tls, extensions = layers(), draw(_some(_server_extensions()))
    version, session_id, cipher = draw(st.sampled_from([0x0300, TLS10, TLS12])), draw(SHORT), draw(CODES)
    packet = tls.TLSServerHello(
        version=version,
        gmt_unix_time=draw(st.integers(1, 2**31)),
        random_bytes=draw(st.binary(min_size=28, max_size=28)),
        sid=session_id,
        cipher=cipher,
        ext=[one.packet for one in extensions],
    )
    start = NOTHING_CHOSEN | {"version": version, "legacy_version": version, "session_id": session_id}
    start |= {"cipher_suite": cipher, "compression_method": 0, "is_retry": False}
    return Built(packet, version, 0, _merged(start, extensions))


@st.composite
def retries(draw: st.DrawFn) -> Built:
    """Draw a HelloRetryRequest."""
    tls, group, cookie = layers(), draw(CODES), draw(SHORT)
    chosen = [tls.TLS_Ext_SupportedVersion_SH(version=TLS13), tls.TLS_Ext_KeyShare_HRR(selected_group=group)]
    packet = tls.TLS13HelloRetryRequest(
        version=TLS12, sid=draw(SHORT), cipher=0x1301, ext=[*chosen, tls.TLS_Ext_Cookie(cookie=cookie)]
    )
    return Built(packet, TLS13, 0, {"is_retry": True, "version": TLS13, "key_share_group": group})


@st.composite
def certificates(draw: st.DrawFn) -> Built:
    """Draw a Certificate of either form, of any bytes that do not begin like a bare key."""
    tls = layers()
    chain = draw(st.lists(st.binary(min_size=1, max_size=300), max_size=4))
    old = tls.TLSCertificate(certs=[(len(der), der) for der in chain])
    if draw(st.booleans()):
        return Built(old, TLS12, 0, {"certificates": (*chain,), "context": b"", "ocsp_stapled": False})
    context, staple = draw(st.binary(max_size=8)), draw(st.booleans())
    extensions = [tls.TLS_Ext_Unknown(type=5, val=b"\1\0\0\4ocsp")] if staple else []
    entries = [_entry(der, extensions) for der in chain]
    expected = {"certificates": (*chain,), "context": context, "ocsp_stapled": staple and bool(chain)}
    return Built(tls.TLS13Certificate(cert_req_ctxt=context, certs=entries), TLS13, 0, expected)


def _entry(der: bytes, extensions: list[Any]) -> Any:
    from scapy.layers.tls.handshake import _ASN1CertAndExt

    return _ASN1CertAndExt(cert=(len(der), der), ext=extensions)


@st.composite
def certificate_requests(draw: st.DrawFn) -> Built:
    """Draw a CertificateRequest of one of its three forms."""
    tls, version = layers(), draw(st.sampled_from([TLS10, TLS12, TLS13]))
    schemes, types = draw(LISTS), draw(st.lists(st.integers(0, 255), max_size=6))
    names = draw(st.lists(SHORT, max_size=3))
    if version == TLS13:
        context, extension = draw(st.binary(max_size=8)), tls.TLS_Ext_SignatureAlgorithms(sig_algs=schemes)
        packet = tls.TLS13CertificateRequest(cert_req_ctxt=context, ext=[extension])
        return Built(packet, version, 0, {"context": context, "signature_schemes": (*schemes,), "authorities": ()})
    packet = tls.TLSCertificateRequest(
        ctypes=types,
        sig_algs=schemes,
        certauth=[(len(name), name) for name in names],
        tls_session=_session(version),
    )
    expected = {"certificate_types": (*types,), "authorities": (*names,)}
    return Built(packet, version, 0, expected | {"signature_schemes": (*schemes,) if version == TLS12 else ()})


def _session(version: int) -> Any:
    """Scapy's idea of a connection, from which it takes the form of a message."""
    session = layers().tlsSession()
    session.tls_version = version
    return session


@st.composite
def server_key_exchanges(draw: st.DrawFn) -> Built:
    """Draw a ServerKeyExchange with a named curve or a prime, signed as the version has it."""
    from scapy.layers.tls.keyexchange import ServerDHParams, ServerECDHNamedCurveParams, _TLSSignature

    tls, version, scheme = layers(), draw(st.sampled_from([TLS10, TLS12])), draw(CODES)
    session, public = _session(version), draw(st.binary(min_size=1, max_size=80))
    signature = _TLSSignature(sig_alg=scheme, sig_val=draw(SHORT), tls_session=session)
    group, prime = draw(CODES), draw(st.binary(min_size=1, max_size=300))
    if curve := draw(st.booleans()):
        parameters = ServerECDHNamedCurveParams(named_curve=group, point=public, tls_session=session)
    else:
        parameters = ServerDHParams(dh_p=prime, dh_g=b"\2", dh_Ys=public, tls_session=session)
    packet = tls.TLSServerKeyExchange(params=parameters, sig=signature, tls_session=session)
    expected = {"public": public, "signature_scheme": scheme if version == TLS12 else None}
    expected |= {"group": group if curve else None, "dh_bits": None if curve else int.from_bytes(prime).bit_length()}
    return Built(packet, version, 0xC02F if curve else 0x0033, expected)


@st.composite
def tickets(draw: st.DrawFn) -> Built:
    """Draw a NewSessionTicket of either form; scapy replaces what is empty, zero or all ones by chance values."""
    tls, lifetime, ticket = layers(), draw(st.integers(0, 2**32 - 2)), draw(SHORT)
    if draw(st.booleans()):
        packet = tls.TLSNewSessionTicket(lifetime=lifetime, ticket=ticket)
        return Built(packet, TLS12, 0, {"lifetime": lifetime, "ticket": ticket, "age_add": None, "nonce": b""})
    nonce, age = draw(SHORT), draw(st.integers(1, 2**32 - 1))
    packet = tls.TLS13NewSessionTicket(
        ticket_lifetime=lifetime,
        ticket_age_add=age,
        ticket_nonce=nonce,
        ticket=ticket,
        ext=[tls.TLS_Ext_EarlyDataIndicationTicket(max_early_data_size=5)],
    )
    expected = {"lifetime": lifetime, "ticket": ticket, "age_add": age, "nonce": nonce, "raw": ((42, b"\0\0\0\5"),)}
    return Built(packet, TLS13, 0, expected)


@st.composite
def small_messages(draw: st.DrawFn) -> Built:
    """Draw one of the messages that hold little or nothing."""
    from scapy.layers.tls.keyexchange import _TLSSignature

    tls, data, scheme = layers(), draw(SHORT), draw(CODES)
    version = draw(st.sampled_from([TLS10, TLS12]))
    session = _session(version)
    signature = _TLSSignature(sig_alg=scheme, sig_val=data, tls_session=session)
    signed = {"signature": data, "signature_scheme": scheme if version == TLS12 else None}
    protocol = tls.TLS_Ext_ALPN(protocols=[tls.ProtocolName(protocol=data)])
    early = draw(st.booleans())
    encrypted = [protocol, tls.TLS_Ext_EarlyDataIndication()] if early else [protocol]
    return draw(
        st.sampled_from(
            [
                Built(tls.TLSHelloRequest(), version, 0, {}),
                Built(tls.TLSServerHelloDone(), version, 0, {}),
                Built(tls.TLS13EndOfEarlyData(), TLS13, 0, {}),
                Built(tls.TLS13KeyUpdate(request_update=1), TLS13, 0, {"request_update": 1}),
                Built(tls.TLSFinished(vdata=data), version, 0, {"verify_data": data}),
                Built(tls.TLSClientKeyExchange(exchkeys=tls.Raw(data)), version, 0, {"exchange": data}),
                Built(tls.TLSCertificateVerify(sig=signature, tls_session=session), version, 0, signed),
                Built(
                    tls.TLSCertificateStatus(status_type=1, response=tls.Raw(data)), version, 0,
                    {"status_type": 1, "response": data},
                ),
                Built(
                    tls.TLSEncryptedExtensions(ext=encrypted), TLS13, 0, {"alpn": text(data), "early_data": early}
                ),
            ]
        )
    )  # fmt: skip


def messages() -> st.SearchStrategy[Built]:
    """Draw any message."""
    return st.one_of(
        client_hellos(), server_hellos(), retries(), certificates(), certificate_requests(), server_key_exchanges(),
        tickets(), small_messages(),
    )  # fmt: skip
