"""Licence, citation and rules of the project say what the code says."""

import hashlib
import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_licence_is_the_one_that_the_package_names() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_the_citation_is_of_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["authors"]
    for key in ("version", "license"):
        assert cited[key] == PROJECT[key]
    assert cited["abstract"].rstrip(".") == PROJECT["description"]
    (paper,) = cited["references"]
    assert paper["url"] in (ROOT / "README.md").read_text()


def test_contributing_names_what_has_to_pass() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text()
    asked = (ROOT / ".ci" / "run").read_text()
    targets = re.findall(r"^make (\S+)$", asked, re.MULTILINE)
    assert len(targets) == 5
    assert {*re.findall(r"^    make (\S+)", told, re.MULTILINE)} == {*targets}
    made = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets)


def test_the_page_of_benchmarks_names_all_of_them() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    ran = re.findall(r"-m (benchmarks\.\w+)", (ROOT / "Makefile").read_text())
    assert len(ran) > 10
    assert {*ran} <= {*re.findall(r"`[^`]*-m (benchmarks\.\w+)", page)}
