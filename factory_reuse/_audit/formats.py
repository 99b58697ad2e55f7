"""The findings for machines: JSON, and the annotations of GitHub's workflow commands."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Final, Iterator

from .findings import SEVERITIES
from .run import Audit

#: GitHub's names for the severities ("Workflow commands for GitHub Actions").
_LEVELS: Final = {"info": "notice", "warning": "warning", "error": "error"}


def as_json(audit: Audit) -> str:
    """Return all of an audit as JSON: see docs/reference/command-line.md for its fields."""
    findings = [{**dataclasses.asdict(each), "title": each.title} for each in audit.findings]
    for finding in findings:
        del finding["weight"]
    document: dict[str, Any] = {
        "version": 1,
        "factories": [dataclasses.asdict(each) for each in audit.factories],
        "findings": findings,
        "failed_imports": [each._asdict() for each in audit.failed],
        "counts": {
            severity: sum(each.severity == severity for each in audit.findings)
            for severity in SEVERITIES
        },
        "ignored": audit.ignored,
        "accepted": audit.accepted,
        "outdated": list(audit.outdated),
    }
    return json.dumps(document, indent=2)


def as_github(audit: Audit) -> Iterator[str]:
    """Yield one annotation for each finding and each module that could not be imported."""
    for each in audit.failed:
        yield _annotation("error", f"{each.module} cannot be imported: {each.reason}", {})
    for finding in audit.findings:
        yield _annotation(
            _LEVELS[finding.severity],
            f"{finding.factory}: {finding.reason} {finding.remedy}",
            {
                "file": finding.path,
                "line": str(finding.line),
                "title": f"{finding.code} {finding.title}",
            },
        )


def _annotation(level: str, message: str, properties: dict[str, str]) -> str:
    said = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{level} {said}::{_escaped(message)}" if said else f"::{level}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    """Escape as GitHub's own toolkit does."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
