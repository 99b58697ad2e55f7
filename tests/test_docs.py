"""The examples in README.md and docs/ are run as they stand."""

import re
from pathlib import Path
from typing import Any, Dict

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", ["README.md", "docs/usage.md"])
def test_examples(page: str) -> None:
    """The Python blocks of a page run one after the other, in one namespace."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)
    assert blocks
    namespace: Dict[str, Any] = {"__name__": "docs_example"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)
    namespace["session"].close()
    namespace["engine"].dispose()


@pytest.mark.parametrize("page", ["docs/explanation/guarantees.md"])
def test_linked_tests(page: str) -> None:
    """Each test that a page links to is in the file that it links to."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\[`(test_\w+)`\]\(([^)\s]+)\)", text)
    assert len(links) > 40
    for name, target in links:
        linked = (ROOT / page).parent / target
        assert f"def {name}(" in linked.read_text("utf-8"), (name, target)
