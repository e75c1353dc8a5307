"""Who may see what of a deployment, and for which hosts its certificate is."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from fedgen.deployment.credentials import main, write_certificates, write_node_key


def names(path: Path) -> tuple[list[str], list[str]]:
    """Return the host names and addresses of a certificate."""
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return names.get_values_for_type(x509.DNSName), [str(address) for address in addresses]


def test_the_server_s_certificate_is_signed_by_the_authority(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    authority, server = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes())
        for name in ("ca.pem", "server.pem")
    )
    server.verify_directly_issued_by(authority)
    assert names(tmp_path / "server.pem") == (["localhost"], ["127.0.0.1"])
    assert server.not_valid_before_utc < datetime.now(UTC) < server.not_valid_after_utc
    assert not (tmp_path / "ca.key").exists()
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("superlink", (["superlink", "localhost"], ["127.0.0.1"])),
        ("10.0.0.7", (["localhost"], ["10.0.0.7", "127.0.0.1"])),
        ("fd00::7", (["localhost"], ["fd00::7", "127.0.0.1"])),
    ],
)
def test_a_certificate_is_for_the_host_that_is_told(
    tmp_path: Path, host: str, expected: tuple[list[str], list[str]]
) -> None:
    write_certificates(tmp_path, host)
    assert names(tmp_path / "server.pem") == expected


def test_node_keys_differ_and_are_private(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_node_key(tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    publics = [(tmp_path / f"{name}.pub").read_text() for name in ("a", "b")]
    assert publics[0] != publics[1]
    assert all(public.startswith("ecdsa-sha2-nistp384 ") for public in publics)


def test_folders_are_for_those_who_may_see_them(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    assert main([str(keys), "superlink", "2"]) == 0
    found = {path.relative_to(keys).as_posix() for path in keys.rglob("*") if path.is_file()}
    assert found == {
        *("server/ca.pem", "server/server.pem", "server/server.key", "server/superexec.secret"),
        *("nodes/node-0", "nodes/node-1"),
        *("public/ca.pem", "public/node-0.pub", "public/node-1.pub"),
    }
    for path in [keys, *keys.rglob("*")]:
        private = path.is_dir() or path.suffix in ("", ".key", ".secret")
        assert (stat.S_IMODE(path.stat().st_mode) & 0o077 == 0) or not private, path


@pytest.mark.parametrize(
    ("host", "nodes"),
    [("super link", "2"), ("süper", "2"), ("a" * 65, "2"), ("a", "0"), ("a", "x")],
)
def test_what_is_no_host_or_number_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], host: str, nodes: str
) -> None:
    assert main([str(tmp_path / "keys"), host, nodes]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fedgen: expected FOLDER, HOST and the number of NODES")
    assert err.count("\n") == 1 and not (tmp_path / "keys").exists()


def test_a_folder_that_is_there_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path), "superlink", "1"]) == 2
    assert "expected a folder that can be made" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
