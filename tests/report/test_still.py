"""The first chart without a script: where its lines go, and that no numbers break it."""

import re

import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st

from fedgen.report.still import still


def figure(x: list, y: list, **axis: object) -> go.Figure:
    drawn = go.Figure(layout={"margin": {"l": 64, "r": 16, "t": 30, "b": 52}})
    drawn.add_scatter(x=x, y=y, mode="lines", line={"color": "#0072b2", "dash": "dot"})
    return drawn.update_yaxes(axis)


def path(found: str) -> str:
    (drawn,) = re.findall('<path stroke="#0072b2"[^>]* d="(.*?)"/>', found)
    return drawn


def test_a_line_goes_where_its_values_are() -> None:
    """Five percent of room on either side, the higher the nearer to 0; a gap is left out."""
    found = still(figure([0, 5, 7, 10], [0.0, 0.5, None, 1.0], range=[0, 1]))
    assert path(found) == "M4.55 100.00L50.00 50.00L95.45 0.00"
    assert 'stroke-dasharray="3 3"' in found and "left:64px;right:16px;top:30px" in found
    assert re.findall('class="below" style="left:(.*?)%">(.*?)<', found) == [
        *(("4.55", "0"), ("22.73", "2"), ("40.91", "4")),
        *(("59.09", "6"), ("77.27", "8"), ("95.45", "10")),
    ]


def test_a_logarithmic_axis_has_the_ticks_that_the_chart_has() -> None:
    ticks = {"tickvals": [0.1, 1], "ticktext": ["0.1", "1"]}
    found = still(figure([0, 1], [0.1, 10], type="log", range=[-1, 1], **ticks))
    assert re.findall('class="beside" style="bottom:(.*?)%">(.*?)<', found) == [
        ("0.00", "0.1"),
        ("50.00", "1"),
    ]


def test_bands_dots_and_names_are_drawn() -> None:
    drawn = figure([0, 1], [1, 1], range=[0, 2])
    drawn.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"width": 0})
    drawn.add_scatter(
        x=[0, 1], y=[1, 2], mode="lines", line={"width": 0}, fill="tonexty", fillcolor="#eee"
    )
    drawn.add_scatter(x=[1], y=[1], mode="markers", marker={"size": 6, "color": "#111"})
    drawn.add_scatter(x=[0], y=[1], mode="text", text=["a &lt;b"])
    drawn.add_annotation(x=1, y=1, text="fedavg", font={"color": "#222"})
    found = still(drawn)
    assert 'fill="#eee" d="M4.55 50.00L95.45 0.00L95.45 50.00L4.55 100.00"' in found
    assert 'class="dot" stroke="#111" stroke-width="6" d="M95.45 50.00h0"' in found
    assert "a &lt;b</span>" in found and ">fedavg</span>" in found


def test_a_long_line_is_thinned_and_keeps_its_end() -> None:
    drawn = path(still(figure([*range(1000)], [0.5] * 999 + [1.0], range=[0, 1])))
    assert drawn.count("L") < 60 and drawn.endswith("L95.45 0.00")


NUMBERS = st.none() | st.integers(-(10**25), 10**25) | st.floats()


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5), st.sampled_from(["linear", "log"]))
def test_no_numbers_break_it(points: list[tuple], kind: str) -> None:
    x, y = [x for x, _ in points], [y for _, y in points]
    ends = {"range": [-3, 3], "tickvals": [1], "ticktext": ["1"]} if kind == "log" else {}
    found = still(figure(x, y, type=kind, **ends))
    assert "nan" not in found and "inf" not in found


def test_dots_keep_their_colours_where_others_are_left_out() -> None:
    drawn = go.Figure(layout={"margin": {"l": 64, "r": 16, "t": 30, "b": 52}})
    drawn.add_scatter(
        x=[0, 1, 2],
        y=[1, None, 2],
        mode="markers",
        marker={"color": ["#111", "#222", "#333"], "size": [5, 6, 7]},
    )
    found = re.findall('class="dot" stroke="(.*?)" stroke-width="(.*?)"', still(drawn))
    assert found == [("#111", "5"), ("#333", "7")]
