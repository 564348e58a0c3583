"""What every page has: the headline with the state and the age of what is shown, and advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from . import figures
from .markup import Markup, headline, pill, text
from .poller import Poller, View

REFRESH_S = 2.0
OLD_S = 4.0
"""A picture is marked as old from here on: two have been missed."""

Draw = Callable[[Poller, View], None]


def page(title: str, draw: Draw, poller: Poller) -> Callable[[], None]:
    """A page that draws itself again every two seconds."""

    @st.fragment(run_every=REFRESH_S)
    def refreshed() -> None:
        view = poller.look()
        if view is None:
            st.html(headline(_title(title), pill("old", "no answer yet")))
            st.info("Waiting for the first answer.")
            return
        st.html(headline(_title(title), _state(view)))
        _say_age(view)
        draw(poller, view)

    return refreshed


def is_old(view: View) -> bool:
    """Whether what is shown may not be so any more."""
    return bool(view.problem and not view.local) or view.age_s > OLD_S


def figure(label: str, value: str, *, key: str, hint: str | None = None) -> None:
    """One figure in large type; `key` is the class by which tests find it."""
    with st.container(key=f"figure-{key}"):
        st.metric(label, value, help=hint)


def show_html(markup: Markup) -> None:
    """Put markup on the page."""
    st.html(markup)


def chart(drawing: Any) -> None:
    """Put a chart on the page, as wide as there is room."""
    st.altair_chart(drawing, width="stretch")


def empty(words: str) -> None:
    """Say that there is nothing, and what would be here."""
    st.html(Markup(f'<div style="opacity:.72;padding:1.2rem 0">{text(words)}</div>'))


def _title(title: str) -> Markup:
    return Markup(f'<span style="font-size:1.55rem;font-weight:650">{text(title)}</span>')


def _state(view: View) -> Markup:
    name = text(f"{view.source} ")
    if view.local:
        state = pill("old", "no cluster")
    elif is_old(view):
        state = pill("old", f"last known, {figures.age(view.age_s)} old")
    elif any(advice.level == "error" for advice in view.snapshot.advice):
        state = pill("error", _number(len(view.snapshot.advice)))
    elif view.snapshot.advice:
        state = pill("warning", _number(len(view.snapshot.advice)))
    else:
        state = pill("ok", "healthy")
    at = (
        f'<span style="opacity:.72;font-size:.85rem">{name} at {figures.clock(view.snapshot.taken_s)}</span> '
    )
    return Markup(f'<span class="page-state">{at}{state}</span>')


def _number(problems: int) -> str:
    return "1 problem" if problems == 1 else f"{problems} problems"


def _say_age(view: View) -> None:
    if view.local and view.problem:
        st.info(f"This process and its machine are shown, for there is no cluster to look at: {view.problem}")
    elif is_old(view):
        why = view.problem or "no answer"
        st.warning(
            f"Last known state, {figures.age(view.age_s)} old: {why}. It is asked again every second.",
        )
