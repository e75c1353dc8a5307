"""What is checked before a SuperLink is asked for anything, and one that is not there."""

from pathlib import Path

import pytest

from fedgen.deployment import superlink
from fedgen.errors import RunError


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected register KEY.pub ..., or run RUN-CONFIG: []"),
        (["register"], "expected register KEY.pub"),
        (["run"], "expected register KEY.pub"),
        (["run", "clients=2", "more"], "expected register KEY.pub"),
        (["register", "nowhere.pub"], "nowhere.pub: expected a SuperNode's public key"),
        (["run", "round=3"], "unknown key 'round': did you mean 'rounds'"),
        (["run", "rounds=0"], "run.rounds"),
        (["run", "hello"], "run config 'hello': expected"),
        (["run", "out=5"], "out=5: expected a path in quotes"),
    ],
)
def test_bad_input_is_one_line_and_asks_nobody(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(superlink, "ask", pytest.fail)
    assert superlink.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("fedgen: ") and says in err


def test_a_superlink_that_is_not_there_is_waited_for_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(
        '[superlink.fedgen]\naddress = "127.0.0.1:9"\ninsecure = true\n'
    )
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    asked = []
    ask = superlink.ask
    monkeypatch.setattr(superlink, "ask", lambda *a: (asked.append(a), ask(*a)))
    with pytest.raises(RunError) as error:
        superlink.await_superlink(superlink.os.environ, seconds=0.1)
    assert "127.0.0.1:9" in error.value.line and "unavailable" in error.value.line
    assert len(asked) >= 1
