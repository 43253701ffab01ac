"""Keys and certificates of one cluster: one authority, short lists of leaves, all made anew at every fresh start.

Elliptic curve keys, because eight of them take milliseconds.
"""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_YEARS = dt.timedelta(days=3650)
_SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Leaf:
    """What one certificate is for."""

    file: str  # name of the files, without suffix
    user: str  # common name: the user name for Kubernetes
    group: str  # organisation: the group for Kubernetes
    addresses: tuple[str, ...] = ()  # IP addresses that it may serve on
    names: tuple[str, ...] = ()  # DNS names that it may serve on


def _private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key readable by its owner alone."""
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def _name(user: str, group: str | None = None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, user)])


class Authority:
    """The certificate authority of one cluster, in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, mode=0o700)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("localcluster-ca")
        certificate = (
            self._builder(self._subject, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        _private(folder / "ca.key", self._key)
        (folder / "ca.crt").write_bytes(certificate.public_bytes(Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        begin = dt.datetime.now(dt.UTC) - _SKEW
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + _YEARS)
        )

    def issue(self, leaf: Leaf) -> None:
        """Write `<file>.key` and `<file>.crt`, good for clients and servers."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = self._builder(_name(leaf.user, leaf.group), key.public_key()).add_extension(usage, critical=False)
        if leaf.addresses or leaf.names:
            served = [
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in leaf.addresses),
                *(x509.DNSName(name) for name in leaf.names),
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(served), critical=False)
        _private(self.folder / f"{leaf.file}.key", key)
        (self.folder / f"{leaf.file}.crt").write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)
        )

    def issue_service_account_pair(self) -> None:
        """Write `sa.key` and `sa.pub`, with which service account tokens are signed and checked."""
        key = ec.generate_private_key(ec.SECP256R1())
        _private(self.folder / "sa.key", key)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / "sa.pub").write_bytes(public)
