import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest

from egress.report import ModelResult, TrainingHistory, write_report
from egress.report.page import render
from tests.egress.report import sample

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags with their attributes, the text outside of styles, and whether all tags close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.unbalanced = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        joined = re.sub(r"\s+", " ", " ".join(self.texts))
        return joined.replace("\N{NO-BREAK SPACE}", " ")

    def values(self, name):
        return [attrs[name] for _, attrs in self.tags if attrs.get(name)]


@pytest.fixture(scope="module")
def html():
    return render(sample.report())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_nothing_is_fetched(html, page):
    assert "http:" not in html
    assert "https:" not in html
    assert "//" not in re.sub(r"<[/!]", "", html)
    assert "@import" not in html
    assert not {"script", "link", "img", "iframe", "object", "image"} & {t for t, _ in page.tags}
    for name in ("src", "srcset", "data", "action"):
        assert page.values(name) == []
    assert all(target.startswith("#") for target in page.values("href"))
    assert all(target.startswith("#") for target in re.findall(r"url\((.)", html))


def test_every_tag_closes(page):
    assert page.open == []
    assert page.unbalanced == []


def test_identifiers_are_unique_and_every_reference_finds_one(html, page):
    identifiers = page.values("id")
    assert len(identifiers) == len(set(identifiers))
    wanted = {target[1:] for target in page.values("href")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", html))
    wanted |= {name for names in page.values("aria-labelledby") for name in names.split()}
    assert wanted <= set(identifiers)


def test_every_figure_has_a_title_and_a_description(html):
    figures = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    assert len(figures) == 2 * 2 + 4 + 1 + 1
    for figure in figures:
        assert re.search(r"<title id=[^>]+>[^<]+</title><desc id=[^>]+>[^<]+</desc>", figure)
        assert 'role="img"' in figure


def test_key_numbers_are_at_the_top(page):
    top = page.text.split("1 What was trained")[0]
    plain, backslash = sample.plain(), sample.backslash()
    bits = [8 * model.stream_bytes / model.total.weights for model in (plain, backslash)]
    for figure in (
        "344,064 of 344,064 equal",
        "97.2 % → 96.6 %",
        f"{bits[0]:.2f} → {bits[1]:.2f}",
        "15.45",
        "9,412 LUTs",
        "16 lanes on ulx3s-85f at 131 MHz: 2.10 G weights/s",
    ):
        assert figure in top


def test_every_measured_rate_is_in_the_tables(page):
    for model in (sample.plain(), sample.backslash()):
        for rates in (*model.rates.values(), model.total):
            for bits in rates.per_weight().values():
                assert f"{bits:.2f}" in page.text


def test_rows_of_every_section_are_there(page):
    for text in (
        "fc2.weight",
        "For comparison: the paper's models",
        "7.31",
        "waits for input",
        "9,412 of 83,640 (11.3 %)",
        "2,204 of 5,280 (41.7 %)",
        "egress demo --seed 0 --out out/demo",
        "2026-01-31",
        "3 min 34 s",
    ):
        assert text in page.text


def test_weights_that_rest_at_zero_are_said_to(page):
    share = np.mean([np.mean(tensor == 0) for tensor in sample.backslash().weights.values()])
    assert share > 0.7
    assert page.text.count("are exactly zero before they are rounded") == 1


def test_a_mismatch_is_said_loudly():
    html = render(sample.report(simulations=[sample.simulation(mismatches=3)]))
    assert "114,685 of 114,688 equal" in Page(html).text
    assert "3 differ, in 1 simulation" in Page(html).text
    assert '<div class="bad">' in html
    assert '<div class="good">' not in html


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ("models", "No model was trained in this run."),
        ("simulations", "No simulation was run."),
        ("resources", "No place-and-route in this run"),
    ],
)
def test_a_missing_section_says_so(missing, line):
    page = Page(render(sample.report(**{missing: []})))
    assert line in page.text
    assert page.open == []
    assert page.unbalanced == []


def test_an_empty_report_is_a_page_without_figures():
    html = render(
        sample.report(models=[], simulations=[], resources=[], facts={}, seconds={}, paper=())
    )
    assert "<svg" not in html
    assert html.count('class="missing"') == 7
    assert "For comparison" not in html


def test_no_history_leaves_the_curves_out():
    html = render(sample.report(models=[sample.model("plain", {"w": np.eye(4)}, points=0)]))
    assert "No training history in this run." in html
    assert "curve-loss" not in html


def test_names_are_escaped():
    nasty = "<script>alert('&')</script> $x_{1"
    report = sample.report(
        models=[sample.model(nasty, {nasty: np.eye(8)})],
        simulations=[sample.simulation(model=nasty, output=nasty)],
        facts={nasty: nasty, "command": nasty},
        seconds={nasty: 1.0},
    )
    html = render(report)
    page = Page(html)
    assert "<script" not in html
    assert page.open == []
    assert page.unbalanced == []
    assert nasty in page.text


def test_names_that_no_font_or_parser_takes_do_not_stop_it():
    html = render(sample.report(models=[sample.model("a\0b\x1b\ud800", {"w": np.eye(8)})]))
    assert "a?b??" in html


def test_equal_reports_give_equal_bytes(html):
    assert render(sample.report()) == html


def test_matplotlib_settings_of_the_user_change_nothing_and_stay(html):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert render(sample.report()) == html
        assert mpl.rcParams["font.size"] == 30


def test_size_stays_small_with_long_histories(html):
    models = [
        sample.model(f"model {at}", {"w": np.eye(64)}, points=20_000, constrained=at > 0)
        for at in range(2)
    ]
    assert len(html) < 300_000
    assert len(render(sample.report(models=models))) < 300_000


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((4, 4)),
        np.ones((1, 1)),
        np.full((1, 1), -1e-30),
        np.full((3, 3), 0.25),
        np.array([[3e38, -3e38, 0.0]]),
    ],
    ids=["zeros", "one weight", "tiny", "constant", "huge"],
)
@pytest.mark.parametrize("points", [1, 2])
def test_degenerate_models_are_drawn(weights, points):
    model = sample.model("plain", {"w": weights.astype(np.float32)}, points=points)
    page = Page(render(sample.report(models=[model])))
    assert page.unbalanced == []
    assert "nan" not in " ".join(page.values("d"))
    assert "inf" not in " ".join(page.values("d"))


def test_weights_that_are_not_numbers_are_left_out_of_the_histogram():
    model = sample.model("plain", {"w": np.eye(4)})
    fields = {name: getattr(model, name) for name in ModelResult.__slots__}
    fields["weights"] = {"w": np.array([[np.nan, np.inf, 1.0, 0.5]], np.float32)}
    model = ModelResult(**(fields | {"accuracy": {}, "shape_params": {}, "stream_bytes": 0}))
    page = Page(render(sample.report(models=[model])))
    assert "not measured in this run" in page.text
    assert "nan" not in page.text


def test_losses_that_are_not_numbers_are_gaps():
    over_time = TrainingHistory(
        step=[1, 2, 3, 4, 5],
        loss=[float("nan"), float("inf"), 0.0, 1.0, 0.01],
        rate_bits=[float("nan")] * 5,
        shape_param=[float("nan"), 2.0, 1.0, 0.5, 0.5],
        zeros=[0.0, 0.1, 0.2, 0.3, 1.0],
    )
    model = sample.model("plain", {"w": np.eye(4)}, over_time=over_time)
    assert "nan" not in " ".join(Page(render(sample.report(models=[model]))).values("d"))


def test_the_file_is_written_whole(tmp_path, html):
    path = tmp_path / "report.html"
    write_report(sample.report(), path)
    assert path.read_bytes() == html.encode()
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_report(sample.report(), tmp_path / "no" / "report.html")


def test_the_data_load_no_matplotlib_and_the_page_no_pyplot():
    code = (
        "import sys, egress.report; assert 'matplotlib' not in sys.modules;"
        "from egress.report import write_report; assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
