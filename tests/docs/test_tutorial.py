"""The tutorial: played line by line in one folder, and held to what it says came out."""

import re
from pathlib import Path

from examples import BLOCK, commands, play

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()


def leads(text: str) -> list[tuple[str, float, str]]:
    """Who is best, with which accuracy, and how sure that is said to be."""
    sentence = r"(\S+) is best: a test accuracy of ([\d.]+) % .*?((?:too few to be|not) sure)[.] "
    found = re.findall(sentence, " ".join(text.split()) + " ")
    return [(name, float(accuracy), sure) for name, accuracy, sure in found]


def test_the_tutorial_plays_from_its_first_line_to_its_last_as_it_says(tmp_path: Path) -> None:
    said = []
    for kind, text in BLOCK.findall(PAGE):
        if kind == "python":
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
        else:
            said += [play(line, tmp_path) for line in commands(text)]
    first, second, third, fourth = (leads(out)[0] for out in said[:4])
    for (name, accuracy, sure), told in zip((first, fourth), leads(PAGE), strict=True):
        assert (name, sure) == (told[0], told[2]) and abs(accuracy - told[1]) < 1
    assert second[0] == "fedavg@1e-2" and third[0] == "halving:Halving@1e-2"
    assert third[2] == "too few to be sure"
    assert "fourth" in said[4] and len(said) == 5
