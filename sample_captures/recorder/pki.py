"""A small PKI made anew for every recording: no key outlives it, and "expired" means expired when it was recorded."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """A certificate authority: its certificate, its key, and the chain up to (not including) the root."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """What is asked of an end-entity certificate; validity in days relative to now."""

    name: str
    alternative_names: tuple[str, ...] = ()
    from_day: float = -30
    to_day: float = 60
    elliptic: bool = False
    for_client: bool = False


@dataclass(frozen=True)
class Credential:
    """A leaf on disk: `chain` is leaf, intermediates and key in one PEM file, `bare` the same without intermediates."""

    certificate: Path
    key: Path
    chain: Path
    bare: Path


@dataclass
class Pki:
    """Makes authorities and leaves in one directory."""

    directory: Path
    now: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    def root(self, organization: str) -> Authority:
        """Make a self-signed root."""
        key = _key(elliptic=False)
        name = _name(f"{organization} Root", organization)
        certificate = self._authority(name, name, key, key, path_length=None)
        return Authority(certificate, key)

    def intermediate(self, root: Authority, organization: str) -> Authority:
        """Make an authority below a root; its certificate belongs to every chain it signs."""
        key = _key(elliptic=False)
        name = _name(f"{organization} TLS CA 1", organization)
        certificate = self._authority(name, root.certificate.subject, key, root.key, path_length=0)
        return Authority(certificate, key, (certificate, *root.chain))

    def trust(self, name: str, *authorities: Authority) -> Path:
        """Write the certificates of the given authorities as a file of trust anchors."""
        path = self.directory / f"{name}.pem"
        path.write_bytes(b"".join(_pem(authority.certificate) for authority in authorities))
        return path

    def issue(self, file_name: str, leaf: Leaf, authority: Authority) -> Credential:
        """Issue a leaf and write it in the forms that the stacks want."""
        key = _key(leaf.elliptic)
        certificate = self._leaf(leaf, authority, key)
        files = [self.directory / f"{file_name}{end}" for end in (".crt", ".key", "-chain.pem", "-bare.pem")]
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        intermediates = b"".join(map(_pem, authority.chain))
        contents = (_pem(certificate) + intermediates, secret, _pem(certificate) + intermediates + secret)
        for path, content in zip(files, (*contents, _pem(certificate) + secret), strict=True):
            path.write_bytes(content)
        return Credential(*files)

    def _authority(
        self, subject: x509.Name, issuer: x509.Name, key: PrivateKey, signer: PrivateKey, path_length: int | None
    ) -> x509.Certificate:
        usage = _key_usage(certificate_sign=True, encipherment=False)
        builder = self._builder(subject, issuer, key, -400, 3000)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        builder = builder.add_extension(usage, critical=True)
        return _with_key_identifiers(builder, key, signer).sign(signer, hashes.SHA256())

    def _leaf(self, leaf: Leaf, authority: Authority, key: PrivateKey) -> x509.Certificate:
        builder = self._builder(_name(leaf.name), authority.certificate.subject, key, leaf.from_day, leaf.to_day)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if leaf.for_client else ExtendedKeyUsageOID.SERVER_AUTH
        names = [x509.DNSName(name) for name in leaf.alternative_names or (leaf.name,)]
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(False, encipherment=not leaf.elliptic), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _with_key_identifiers(builder, key, authority.key).sign(authority.key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, key: PrivateKey, from_day: float, to_day: float
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now + from_day * DAY)
            .not_valid_after(self.now + to_day * DAY)
        )


def _key(elliptic: bool) -> PrivateKey:
    if elliptic:
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _key_usage(certificate_sign: bool, encipherment: bool) -> x509.KeyUsage:
    """RFC 5280 4.2.1.3: authorities sign certificates; leaves sign handshakes and, for RSA key exchange, encipher."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _with_key_identifiers(
    builder: x509.CertificateBuilder, key: PrivateKey, signer: PrivateKey
) -> x509.CertificateBuilder:
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(own, critical=False).add_extension(issuer, critical=False)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
