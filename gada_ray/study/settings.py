"""Settings of a command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gada_ray.config import ConfigError


def parse_settings(items: Sequence[str]) -> dict[str, Any]:
    """Values by dotted path from `path=value` pairs of a command line; a value is JSON, or else text.

    Raises:
        ConfigError: for a pair of another form.
    """
    values = {}
    for item in items:
        path, equals, text = item.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set needs path.to.field=value, got '{item}'")
        try:
            values[path] = json.loads(text)
        except ValueError:
            values[path] = text
    return values
