"""Whether a project's tests turn warnings into errors: a look at the text of its settings."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Final

#: Where pytest finds its settings, and what begins them there.
_FILES: Final = {
    "pytest.ini": "[pytest]",
    "pyproject.toml": "[tool.pytest",
    "tox.ini": "[pytest]",
    "setup.cfg": "[tool:pytest]",
}
_FILTERS: Final = re.compile(
    r"^\s*filterwarnings\b(.*?)(?=^\s*[\w.]+\s*=|^\s*\[[a-z]|\Z)", re.M | re.S
)
_ERROR: Final = re.compile(r"(?:^|[\s=\"'\[,])error(?:::(?:User)?Warning)?(?=$|[\s\"',\]#])", re.M)
_OPTION: Final = re.compile(r"-W\s*error(?:::(?:User)?Warning)?(?=$|[\s\"',\]])", re.M)


@lru_cache(maxsize=None)
def warnings_are_errors(directory: Path) -> bool:
    """Whether the nearest settings of pytest make an error of a warning."""
    for name, section in _FILES.items():
        try:
            text = (directory / name).read_text("utf-8", "replace")
        except OSError:
            continue
        if section in text or name == "pytest.ini":
            settings = text[max(text.find(section), 0) :]
            filters = _FILTERS.search(settings)
            return bool(_OPTION.search(settings) or (filters and _ERROR.search(filters.group(1))))
    return directory != directory.parent and warnings_are_errors(directory.parent)
