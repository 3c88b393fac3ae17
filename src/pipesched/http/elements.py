"""The page's small parts: sections, tables, tags, times, bars."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote

from pipesched.http.markup import Markup, join, tag
from pipesched.runs.model import Run
from pipesched.views.ages import took


def section(title: str, *content: object, note: str = "") -> Markup:
    return tag("section", tag("h2", title, tag("small", note) if note else ""), *content)


def table(
    columns: Sequence[str], rows: Iterable[Markup], *, numeric: set[str], kind: str | None = None
) -> Markup:
    heads = join(tag("th", name, scope="col", class_="num" if name in numeric else None) for name in columns)
    return tag("table", tag("thead", tag("tr", heads)), tag("tbody", join(rows)), class_=kind)


def cell(label: str, *content: object, numeric: bool = False) -> Markup:
    inside = join(content)
    if not inside:
        return Markup("<td></td>")
    return tag("td", tag("div", inside), data_label=label or None, class_="num" if numeric else None)


def sub(*content: object) -> Markup:
    return tag("span", *content, class_="sub")


def status(state: str) -> Markup:
    return tag("span", state, class_=f"tag {state}")


def report_path(name: str) -> str:
    return "/pipeline/reports/" + quote(name, safe="")


def log_path(run_id: str) -> str:
    return "/pipeline/logs/" + quote(run_id, safe="")


def moment(time: datetime, now: datetime) -> Markup:
    """`14:05`, `Tue 14:05` within a week, else with the date; in the zone that `time` is in."""
    today = now.astimezone(time.tzinfo).date()
    days = abs((time.date() - today).days)
    shown = (
        f"{time:%H:%M %Z}"
        if days == 0
        else f"{time:%a %H:%M %Z}"
        if days < 7
        else f"{time:%Y-%m-%d %H:%M %Z}"
    )
    return tag("time", shown, datetime=time.isoformat(timespec="seconds"))


def bars(past: Sequence[Run]) -> Markup:
    """The last runs, oldest first: the colour is how one ended, the height how long it took (square root, of the longest)."""
    if not past:
        return Markup("")
    longest = max(run.duration_seconds or 0 for run in past) or 1
    drawn = []
    for place, run in enumerate(reversed(past)):
        height = 4 + round(18 * math.sqrt((run.duration_seconds or 0) / longest))
        drawn.append(tag("rect", x=place * 6, y=22 - height, width=4, height=height, rx=1, class_=run.status))
    counts = Counter(run.status for run in past)
    words = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    times = [run.duration_seconds for run in past if run.duration_seconds is not None]
    lasted = f", {took(min(times))} to {took(max(times))}" if times else ""
    return tag(
        "svg",
        tag("title", f"the last {len(past)}: {words}{lasted}"),
        *drawn,
        class_="bars",
        role="img",
        width=len(past) * 6,
        height=22,
        viewBox=f"0 0 {len(past) * 6} 22",
    )
