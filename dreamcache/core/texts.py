"""Foreign text made safe to show: in messages, on terminals, in logs.

    one_line(message)   one line of bounded length, no control characters, no secrets of URIs; every error passes it
    printable(text)     lines kept; what steers a terminal or turns the direction of text is escaped
    shown(value)        a value as a message echoes it: at most 200 characters

Knows text; knows nothing of where it comes from or goes to.
"""

from __future__ import annotations

import re
import reprlib

MAX_VALUE = 200
"""Characters of a value that a message echoes."""
MAX_MESSAGE = 4000
MAX_LEVELS = 4
MAX_MEMBERS = 10

_BREAKS = re.compile(r"[\t\n\r\f\v]+")
# C0 and C1 controls, halves of surrogate pairs, marks that turn the direction of text, line and paragraph separators,
# and the invisible tag characters.
_STEERING = (
    r"\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f"
)
_CONTROL = re.compile(f"[{_STEERING}]")
STEERING = re.compile(f"(?![\\n\\t])[{_STEERING}]")
"""Characters that steer a terminal or turn the direction of text; line breaks and tabs are none."""
_COLOUR = re.compile("\x1b\\[[0-9;]{0,20}m")
_LONG_WORD = re.compile(rf"\S{{{MAX_VALUE + 1},}}")
_QUOTED = re.compile(rf"(?<!\w)'((?:[^']|(?<=\w)'(?=\w)){{{MAX_VALUE + 1},}})'(?!\w)")
_USER = re.compile(r"(?<=://)(?:[^\s/@'\"]{1,500}|[^\s/@:'\"]{1,200}:[^\s@'\"]{1,300})@")
_SECRET = re.compile(
    r"(?i)([?&;](?:x-(?:amz|goog|ms)-[\w-]+|awsaccesskeyid|signature|sig|\w*token|\w*secret|\w*password|\w*key)=)"
    r"[^&;\s'\"]+"
)
_HIDDEN = "***"


def one_line(text: str) -> str:
    """Line breaks become spaces, control and direction characters escapes; secrets in URIs are hidden.

    What stands in 'quotes', and a run without spaces, are values: of either, MAX_VALUE characters are shown; of the
    whole, MAX_MESSAGE.
    """
    text = without_secrets(_BREAKS.sub(" ", text[: 4 * MAX_MESSAGE]))
    text = _LONG_WORD.sub(lambda match: shortened(match[0]), text)
    text = _QUOTED.sub(lambda match: f"'{match[1][: MAX_VALUE - 3]}...'", text)
    text = _CONTROL.sub(_escaped, text)
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}..."


def printable(text: str, *, colours: bool = False) -> str:
    """Text of any lines for a terminal: control and direction characters are escaped, but line breaks and tabs.

    colours: colour changes pass too, as in the log of a program that writes them.
    """
    if not colours:
        return STEERING.sub(_escaped, text)
    parts = _COLOUR.split(text)
    marks = _COLOUR.findall(text)
    safe = [STEERING.sub(_escaped, part) for part in parts]
    return "".join(part + mark for part, mark in zip(safe, [*marks, ""], strict=True))


def shown(value: object) -> str:
    """A value of any kind as a message echoes it: its repr, bounded in depth, members and length."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_VALUE else f"{value[: MAX_VALUE - 3]}...")
    try:
        text = _REPR.repr(value)
    except Exception as error:  # noqa: BLE001 - the repr of a foreign value, or of a number of 5,000 digits
        text = f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 3]}..."


def shortened(text: str) -> str:
    """At most MAX_VALUE characters: of a path both its root and its name are needed to find it."""
    if len(text) <= MAX_VALUE:
        return text
    end = MAX_VALUE // 3
    return f"{text[: MAX_VALUE - end - 3]}...{text[-end:]}"


def without_secrets(text: str) -> str:
    """Without the user and password of a URI, and without the values of a presigned query."""
    if "://" not in text and "?" not in text:
        return text
    return _SECRET.sub(rf"\1{_HIDDEN}", _USER.sub(f"{_HIDDEN}@", text))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _bounded_repr() -> reprlib.Repr:
    bounded = reprlib.Repr()
    bounded.maxlevel = MAX_LEVELS
    bounded.maxstring = bounded.maxother = bounded.maxlong = MAX_VALUE
    bounded.maxdict = bounded.maxlist = bounded.maxtuple = bounded.maxset = MAX_MEMBERS
    return bounded


_REPR = _bounded_repr()
