"""Lengths of time as people write them."""

from __future__ import annotations

import re


class Seconds(float):
    """A length of time; written with its unit (`100ms`, `240s`, `10m`, `1h`) or as plain seconds."""

    __slots__ = ()

    UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}  # noqa: RUF012
    PATTERN = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)?$"

    @classmethod
    def parse(cls, text: str) -> Seconds:
        """Read `text`; ValueError if it is no duration."""
        if len(text) > 20 or not re.fullmatch(cls.PATTERN, text, re.ASCII):
            raise ValueError("expected a duration such as 100ms, 240s or 10m")
        number = text.rstrip("msh")
        return cls(float(number) * cls.UNITS[text[len(number) :]])

    def __str__(self) -> str:
        for unit in ("h", "m", "s"):
            if self >= self.UNITS[unit]:
                return f"{self / self.UNITS[unit]:g}{unit}"
        return f"{self * 1000:g}ms"
