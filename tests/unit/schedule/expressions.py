"""Strategies for cron expressions, as people write them."""

from hypothesis import strategies as st

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@st.composite
def items(draw, low, high, names=()):
    """One item of a field: a number, a range, either with a step, a star, a name."""
    kind = draw(
        st.sampled_from(["number", "number", "range", "stepped range", "star", "stepped star", "name"])
    )
    if kind == "name" and names:
        return draw(st.sampled_from([*names, *(name.upper() for name in names)]))
    if kind in {"range", "stepped range"}:
        first = draw(st.integers(low, high - 1))
        last = draw(st.integers(first + 1, high))
        step = f"/{draw(st.integers(1, 20))}" if kind == "stepped range" else ""
        return f"{first}-{last}{step}"
    if kind == "star":
        return "*"
    if kind == "stepped star":
        return f"*/{draw(st.integers(1, high))}"
    return str(draw(st.integers(low, high)))


def fields(low, high, names=()):
    return st.lists(items(low, high, names), min_size=1, max_size=3).map(",".join)


def mostly_star(field):
    return st.one_of(st.just("*"), st.just("*"), field)


expressions = st.tuples(
    fields(0, 59),
    fields(0, 23),
    mostly_star(fields(1, 31)),
    mostly_star(fields(1, 12, MONTHS)),
    mostly_star(fields(0, 7, WEEKDAYS)),
).map(" ".join)

early = st.tuples(
    st.sampled_from(["0", "30", "1,31", "*/15", "*/7", "15-45", "59", "0,30", "*"]),
    st.sampled_from(["0", "1", "2", "0-3", "*/2", "*", "1-2", "0,2", "23", "22-23", "3", "*/3"]),
    st.sampled_from(["*", "*", "*", "*/2", "1-15", "30"]),
    st.just("*"),
    st.sampled_from(["*", "*", "*", "sun", "0,6", "*/2", "5-7"]),
).map(" ".join)
"""Around the hours at which clocks change."""
