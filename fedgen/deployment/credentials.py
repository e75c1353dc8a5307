"""Certificates and keys for a deployment, made on the spot.

    python -m fedgen.deployment.credentials FOLDER HOST NODES

makes a folder for those who may see what is in it: ``server`` for the SuperLink, known as HOST, and
its ServerApp; ``nodes`` with the private keys of NODES SuperNodes; ``public`` for everybody.
"""

import ipaddress
import os
import re
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedgen.errors import FedgenError, InputError

LIFETIME = timedelta(days=90)


def write_all(folder: Path, host: str, nodes: int) -> None:
    """Write what a deployment needs into a new folder.

    Args:
        folder: Of ``server`` (``ca.pem``, ``server.pem``, ``server.key``, and the secret that a
            ServerApp in a process of its own shares, ``superexec.secret``), ``nodes`` (``node-0``,
            ...) and ``public`` (``ca.pem``, ``node-0.pub``, ...).
        host: Name or address by which the SuperLink is reached.
        nodes: Number of SuperNodes, at least 1.

    Raises:
        InputError: If the folder exists, or cannot be made.
    """
    server, keys, public = (folder / name for name in ("server", "nodes", "public"))
    try:
        for made in (folder, server, keys, public):
            made.mkdir(mode=0o700)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be made: {error}") from error
    write_certificates(server, host)
    (public / "ca.pem").write_bytes((server / "ca.pem").read_bytes())
    _write_private(server / "superexec.secret", secrets.token_bytes(48))
    for node in range(nodes):
        write_node_key(keys / f"node-{node}")
        (keys / f"node-{node}.pub").rename(public / f"node-{node}.pub")


def write_certificates(folder: Path, host: str = "localhost") -> None:
    """Write ``ca.pem``, and ``server.pem`` with ``server.key`` for a host, 127.0.0.1 and localhost.

    The authority's key is thrown away: it signs this one certificate.
    """
    authority, server = _key(), _key()
    names = dict.fromkeys([_subject(host), _subject("127.0.0.1"), _subject("localhost")])
    root = _certificate("fedgen local CA", authority)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False
    )
    leaf = _certificate(host, server)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([*names]), critical=False)
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    pem = serialization.Encoding.PEM
    for name, builder in (("ca.pem", root), ("server.pem", leaf)):
        signed = builder.issuer_name(_name("fedgen local CA")).sign(authority, hashes.SHA384())
        (folder / name).write_bytes(signed.public_bytes(pem))
    _write_private(folder / "server.key", _private(server, serialization.PrivateFormat.PKCS8))


def write_node_key(path: Path) -> None:
    """Write a SuperNode's private key, and its public half beside it as ``<path>.pub``."""
    key = _key()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.with_name(f"{path.name}.pub").write_bytes(public)
    _write_private(path, _private(key, serialization.PrivateFormat.OpenSSH))


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _subject(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(common: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
    )


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)


def main(arguments: list[str]) -> int:
    """Write into a folder and return the exit code."""
    try:
        match arguments:
            case [folder, host, nodes] if re.fullmatch(
                r"[\w.:-]{1,64}", host, re.ASCII
            ) and re.fullmatch("[1-9][0-9]*", nodes):
                write_all(Path(folder), host, int(nodes))
            case _:
                raise InputError(f"expected FOLDER, HOST and the number of NODES: {arguments}")
    except FedgenError as error:
        print(f"fedgen: {error.line}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
