import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedgen.config.toml import parse_setting, read_toml, to_toml
from fedgen.config.tree import build, dump
from fedgen.errors import InputError

rates = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
counts = st.integers(1, 2**31 - 1)
fixed = st.fixed_dictionaries({}, optional={"learning_rate": rates, "batch_size": counts})
trees = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "dataset": st.sampled_from(["mnist", "digits", 'a "b"\\\n\té.npz']),
                "data_dir": st.text(st.characters(codec="utf-8")),
                "scale": st.just("auto") | st.floats(1e-30, 1e30) | st.integers(1, 2**16),
                "layout": st.sampled_from(["auto", "channels-last", "channels-first"]),
                "validation_fraction": st.floats(0.001, 0.999),
            },
        ),
        "cohort": st.fixed_dictionaries(
            {}, optional={"fraction": st.floats(0.01, 1), "resample": st.booleans()}
        ),
        "run": st.fixed_dictionaries(
            {},
            optional={
                "rounds": counts,
                "seed": st.integers(0, 2**62),
                "strategies": st.permutations(["genetic-cfl", "fedavg", "centralised"]),
                "workers": st.integers(0, 64),
            },
        ),
        "genetic-cfl": st.fixed_dictionaries({}, optional={"eps": rates, "min_samples": counts}),
        "fedavg": fixed,
        "centralised": fixed,
    },
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.rounds=3", ("run", "rounds", 3)),
        ("fedavg.learning_rate=1e-3", ("fedavg", "learning_rate", 0.001)),
        ("cohort.resample=true", ("cohort", "resample", True)),
        ("genetic-cfl.init=probe", ("genetic-cfl", "init", "probe")),
        ('genetic-cfl.init="probe"', ("genetic-cfl", "init", "probe")),
        ("run.strategies=['a', 'b']", ("run", "strategies", ["a", "b"])),
        ("run.strategies=a,b", ("run", "strategies", "a,b")),
        (" run.rounds = 3 ", ("run", "rounds", 3)),
        ("data.dataset=/a b/c=d.npz", ("data", "dataset", "/a b/c=d.npz")),
        ("data.data_dir=", ("data", "data_dir", "")),
    ],
)
def test_parse_setting(text: str, expected: tuple[str, str, Any]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["", "=", "run", "run=3", "run.rounds", ".rounds=3", "run.=3"])
def test_settings_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"expected SECTION\.KEY=VALUE"):
        parse_setting(text)


@settings(max_examples=50, deadline=None)
@given(trees)
def test_dump_toml_build_is_the_identity(tree: dict[str, Any]) -> None:
    config = build(tree)
    text = to_toml(dump(config))
    assert build(tomllib.loads(text)) == config
    for section, part in tree.items():
        for key, value in part.items():
            assert dump(config)[section][key] == value


def test_read_toml(tmp_path: Path) -> None:
    path = tmp_path / "é.toml"
    path.write_text("[run]\nrounds = 3\n[genetic-cfl]\neps = 0.2 # wide\n", encoding="utf-8")
    config = build(read_toml(path), str(path))
    assert config.run.rounds == 3
    assert math.isclose(config.section_of("genetic-cfl")["eps"], 0.2)


@pytest.mark.parametrize("content", [b"[run\nrounds = 3", b"rounds = ", b"\xff\xfe", b"a=1\na=2"])
def test_broken_toml_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.toml: not valid TOML"):
        read_toml(path)


def test_missing_toml_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"is a directory, expected a \.toml file$"):
        read_toml(tmp_path)
    (tmp_path / "study.toml").touch()
    with pytest.raises(InputError, match=r"expected a \.toml file, as .*/study\.toml is$"):
        read_toml(tmp_path)
