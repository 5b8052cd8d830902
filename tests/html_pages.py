"""Parse HTML pages, for tests of their text and of what they load."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "source", "br"}


class Page(HTMLParser):
    """The content of a page: elements with their attributes and text; tables as rows of cells."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.tables = [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag == "table":
            self.tables.append({"class": element.get("class"), "rows": []})
        if tag == "tr":
            self.tables[-1]["rows"].append([])
        if tag in ("td", "th"):
            element["data"] = []
            self.tables[-1]["rows"][-1].append(element)
        if tag == "data":
            for outer in self.open:
                outer.get("data", []).append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def find(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def table(self, name):
        return next(table["rows"] for table in self.tables if table["class"] == name)


def asks_nothing_of_the_network(html):
    """Assert that neither a page nor its drawings load anything, and return the number of drawings."""
    for element in Page(html).elements:
        for attribute in ("src", "href", "srcset", "action", "poster", "data"):
            if isinstance(element.get(attribute), str):
                assert element[attribute].startswith("data:"), element["tag"]
    outside = re.sub(r"data:[a-z/+]+;base64,[A-Za-z0-9+/=]*", "", html)
    assert "://" not in outside and "url(" not in outside and "@import" not in outside
    drawings = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    for drawing in map(base64.b64decode, drawings):
        assert not re.search(rb'(href|src)="(?!#)', drawing)
    return len(drawings)
