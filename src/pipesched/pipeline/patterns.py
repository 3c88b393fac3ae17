"""The pattern of `--data-dir-pattern` as a regular expression over a file's path below the data folder. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath


def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""A pattern without "/" matches a name at every depth; with one, the whole path, `**` standing for any folders.

    In a part `*`, `?`, `[a-z]` and `[!a-z]`, none of which matches a "/"; everything else, braces too, is itself.
    Use `fullmatch`.
    """
    parts = PurePosixPath(pattern).parts
    if len(parts) == 1:
        return re.compile("(?:[^/]+/)*" + _part(parts[0]))
    out = "".join("(?:[^/]+/)*" if part == "**" else _part(part) + "/" for part in parts[:-1])
    return re.compile(
        out + ("(?:[^/]+/)*[^/]+" if parts[-1:] == ("**",) else _part(parts[-1] if parts else ""))
    )


def _part(part: str) -> str:
    pieces = [""]  # what stands before, between and after the stars
    index = 0
    while index < len(part):
        char = part[index]
        index += 1
        closing = part.find("]", index + (2 if part[index : index + 1] == "!" else 1)) if char == "[" else -1
        if char == "*":
            pieces.append("")
        elif char == "?":
            pieces[-1] += "[^/]"
        elif closing > 0:
            pieces[-1] += _one_of(part[index:closing])
            index = closing + 1
        else:
            pieces[-1] += re.escape(char)
    if len(pieces) == 1:
        return pieces[0]
    # Between two stars the first place that fits is as good as any: an atomic group, or *a*a*a*b would take for ever.
    middle = "".join(f"(?>[^/]*?{piece})" for piece in pieces[1:-1] if piece)
    return f"{pieces[0]}{middle}[^/]*{pieces[-1]}"


def _one_of(inner: str) -> str:
    """The inside of `[...]`: single characters and ranges; a range that runs backwards is empty."""
    negated = inner.startswith("!")
    inner = inner.removeprefix("!")
    members = []
    index = 0
    while index < len(inner):
        if inner[index + 1 : index + 2] == "-" and index + 2 < len(inner):
            low, high = inner[index], inner[index + 2]
            members += [f"{re.escape(low)}-{re.escape(high)}"] if low <= high else []
            index += 3
        else:
            members.append(re.escape(inner[index]))
            index += 1
    if not members:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{''.join(members)}]"
