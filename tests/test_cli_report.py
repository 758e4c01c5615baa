"""The HTML page of the report."""

import base64
from html.parser import HTMLParser

import pandas as pd
from matplotlib.figure import Figure

from sksngp._cli.report import Report

#: Elements without an end tag.
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Parser of the elements, text, tables and external resources of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.addresses = [], [], []
        self.text, self.rows, self.pictures = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset"):
                self.addresses.append(value)
            assert not name.startswith("on"), "a script"
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "elements overlap"

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_page_contains_the_whole_report(capsys):
    report = Report("a < b & c")
    report.section("One")
    report.say("  50 rows")
    report.progress("training")
    report.table(pd.DataFrame({"x": [1, 2], "text": ["a", "b" * 99]}), "A table")
    figure = Figure()
    figure.add_subplot().plot([1, 2])
    report.picture(figure, "A picture")
    out, err = capsys.readouterr()
    assert (out, err) == ("  50 rows\n", "training\n")
    page = Page(report.page())
    assert page.rows == [["x", "text"], ["1", "a"], ["2", "b" * 99]]
    for part in ("a < b & c", "One", "50 rows", "A table", "A picture"):
        assert part in page.text
    (picture,) = page.pictures
    start, _, data = picture["src"].partition(",")
    assert start == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert page.addresses == [picture["src"]]  # the page loads nothing
    assert {"script", "link", "iframe"}.isdisjoint(page.elements)
    assert "charset" in report.page()


def test_text_of_users_is_escaped(capsys):
    evil = "<script>alert('x')</script>\"&"
    report = Report(evil)
    report.section(evil)
    report.say(evil)
    report.table(pd.DataFrame({evil: [evil]}), evil)
    report.picture(Figure(), evil)
    page = Page(report.page())
    assert "script" not in page.elements
    assert page.rows == [[evil], [evil]]
    assert page.pictures[0]["alt"] == evil
    assert "".join(page.text).count(evil) == 8
