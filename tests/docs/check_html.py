#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks at the built site: every link inside it leads to a page and an anchor that are there, and no page, style or
script loads anything from elsewhere.

    check_html.py <folder of the site>
    check_html.py --self-check
"""
import html.parser
import os
import re
import sys
import tempfile
import urllib.parse

OUTSIDE = re.compile(r"^(?:[a-z]+:)?//", re.I)


class Page(html.parser.HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loads = set(), [], []
        self.style = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        for name in ("id", "name"):
            if said.get(name):
                self.anchors.add(said[name])
        if tag == "a" and said.get("href"):
            self.links.append(said["href"])
        elif tag == "link" and said.get("rel") in ("search", "next", "prev", "index", "author", "canonical"):
            if said["rel"] != "canonical":
                self.links.append(said["href"])
        elif tag == "link" and said.get("href"):
            self.loads.append(said["href"])
        for name in ("src", "srcset", "poster", "data"):
            if said.get(name):
                self.loads.append(said[name])
        if tag in ("image", "use") and (said.get("href") or said.get("xlink:href")):
            self.loads.append(said.get("href") or said.get("xlink:href"))
        self.loads += loaded_by_style(said.get("style") or "")
        self.style = tag == "style"

    def handle_data(self, data):
        if self.style:
            self.loads += loaded_by_style(data)

    def handle_endtag(self, tag):
        self.style = False


def loaded_by_style(text):
    return re.findall(r"@import\s+[\"']([^\"']+)", text) + re.findall(r"url\(\s*[\"']?([^\"')]+)", text)


def files(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), folder)


def violations(folder):
    found, pages = [], {}
    for name in sorted(files(folder)):
        if name.endswith((".html", ".css")):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                text = file.read()
            if name.endswith(".html"):
                pages[name] = Page(text)
            else:
                found += [f"{name}: loads {what}" for what in loaded_by_style(text) if OUTSIDE.match(what)]
    for name, page in pages.items():
        for what in page.loads:
            if OUTSIDE.match(what):
                found.append(f"{name}: loads {what}")
        for link in page.links + [what for what in page.loads if not what.startswith("data:")]:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = urllib.parse.unquote(target.path)
            path = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if not os.path.isfile(os.path.join(folder, path)):
                found.append(f"{name}: the link {link} leads nowhere")
            elif target.fragment and path in pages and \
                    urllib.parse.unquote(target.fragment) not in pages[path].anchors | {"top"}:
                found.append(f"{name}: there is no #{target.fragment} in {path}")
    if not pages:
        found.append(f"{folder}: no pages")
    return found


def self_check():
    def wrong(page, style=""):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "b"))
            for name, text in (("a.html", page), ("b/c.html", '<p id="d">'), ("e.css", style)):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            return violations(folder)

    assert wrong('<a href="b/c.html#d">x</a><a href="https://example.org/">y</a><a href="#z" id="z">z</a>'
                 '<link rel="stylesheet" href="e.css?v=1"><img src="data:image/png,x">', "a{b:url(e.css)}") == []
    for page in ('<a href="c.html">', '<a href="b/c.html#e">', '<a href="#f">', '<img src="https://example.org/i.png">',
                 '<script src="//example.org/s.js"></script>', '<link rel="stylesheet" href="https://example.org/s.css">',
                 '<style>@import "https://example.org/s.css";</style>', '<img src="missing.png">',
                 '<p style="background:url(https://example.org/i.png)">'):
        assert wrong(page), page
    assert wrong("", "@import 'https://example.org/s.css';") and wrong("", "a{b:url(//example.org/f.woff)}")
    with tempfile.TemporaryDirectory() as folder:
        assert violations(folder)


def main():
    if sys.argv[1:] == ["--self-check"]:
        self_check()
        return 0
    found = violations(sys.argv[1])
    for line in found:
        print(line)
    return 1 if found else 0


sys.exit(main())
