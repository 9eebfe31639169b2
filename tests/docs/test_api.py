"""The reference of the Python interface is complete."""

from __future__ import annotations

import inspect
from collections import Counter

import clwm_data
import clwm_train
from docs.generate.api import GROUPS, on_page_content, reference


def test_every_public_name_is_on_the_page_once_and_has_a_docstring() -> None:
    for package in (clwm_data, clwm_train):
        listed = Counter(name for module, names in GROUPS.values() if module is package for name in names)
        assert listed == Counter(package.__all__)
        for name in package.__all__:
            assert (inspect.getdoc(getattr(package, name)) or "").strip(), name


def test_names_are_those_that_users_import() -> None:
    text = "\n".join(reference())
    assert "heading: clwm_train.Agent" in text
    assert "heading: clwm_data.open_store" in text


def test_markup_of_docstrings_that_markdown_does_not_know() -> None:
    html = "<p>as :class:<code>~a.B</code> and :func:<code>f</code>, <code>g</code>::</p>"
    assert on_page_content(html) == "<p>as <code>a.B</code> and <code>f</code>, <code>g</code>:</p>"
