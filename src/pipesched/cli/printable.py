"""Text that a terminal, and a runner of GitHub Actions, only shows, whatever is in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, TextIO

# C0 and C1 controls but tab and newline, and what reorders the text of a line (U+202A..E, U+2066..9).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_C1 = re.compile("[\x7f-\x9f]")
_COMMAND = "##["
"""Begins a command anywhere in a line that a runner of GitHub Actions reads, in the older of its two syntaxes."""


def printable(text: str) -> str:
    """`text` without what would steer a terminal (escape sequences in a file name, a lone surrogate) or a runner."""
    if _COMMAND in text and os.environ.get("GITHUB_ACTIONS") == "true":
        text = text.replace(_COMMAND, "##\\x5b")
    return _CONTROL.sub(_escaped, text).encode("utf-8", "backslashreplace").decode("utf-8")


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_line(data: Mapping[str, Any], stream: TextIO) -> str:
    """`data` as JSON on one line that `stream` can encode and a terminal only shows. Raises ValueError on NaN."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    text = json.dumps(data, ensure_ascii=encoding != "utf8", allow_nan=False, default=str)
    text = _C1.sub(lambda match: f"\\u{ord(match[0]):04x}", text).replace(_COMMAND, "##\\u005b")
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
