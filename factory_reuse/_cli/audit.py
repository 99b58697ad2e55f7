"""Say for each factory what key it has, and what is wrong with it.

The modules are imported; packages with all that is in them. Nothing is written anywhere but to a
baseline.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .database import database
from .paper import Paper, paper

if TYPE_CHECKING:
    from factory_reuse._audit.run import Audit
    from factory_reuse._audit.settings import Settings

NAME: Final = "audit"
HELP: Final = "find what is wrong with a project's factories"
EPILOG: Final = """\
The exit status is 1 if there is a finding as bad as --fail-on says, and 2 if a module cannot be
imported, or none has a factory. A finding is ignored where its line or that of its class ends in
"# factory-reuse: ignore[FR201]", or by ignore = FR201, FR5 in the section [factory_reuse] of
setup.cfg or [tool.factory_reuse] of pyproject.toml, which may have fail_on, max_rows, baseline and
modules, too.

  factory-reuse audit tests.factories
  factory-reuse audit tests --format github --fail-on error
  factory-reuse audit tests.factories --db postgresql://localhost/test"""

_SEVERITIES: Final = ("info", "warning", "error")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("modules", nargs="*", metavar="MODULE", help="a module, a package or a file")
    add("--format", choices=("table", "json", "github"), default="table", help="default: table")
    add(
        "--fail-on",
        choices=(*_SEVERITIES, "never"),
        help="from which severity on the exit status is 1 (default: warning)",
    )
    add("--ignore", metavar="CODES", help="codes not to report, such as FR201,FR5")
    add("--max-rows", metavar="N", help="how many rows one call may make (default: 10)")
    add("--db", metavar="URL", help="compare the models with this database, too")
    add("--baseline", metavar="FILE", help="do not report the findings that the file accepts")
    add(
        "--update-baseline",
        action="store_true",
        help="write all findings of now to the baseline file",
    )


def run(arguments: argparse.Namespace) -> int:
    """Audit, print and return the exit status."""
    from factory_reuse._audit.formats import as_github, as_json
    from factory_reuse._audit.settings import write_baseline

    settings = _settings(arguments)
    result = _audit(arguments, settings)
    if arguments.update_baseline:
        assert settings.baseline is not None
        write_baseline(Path(settings.baseline), result.findings)
        print(f"{settings.baseline}: {len(result.findings)} accepted findings", file=sys.stderr)
        return 2 if result.failed else 0
    if arguments.format == "json":
        print(as_json(result))
    elif arguments.format == "github":
        print("\n".join(as_github(result)))
    else:
        write(result, paper())
    if not result.factories and not result.failed:
        print("factory-reuse: no factory was found in these modules", file=sys.stderr)
    for failed in () if arguments.format == "github" else result.failed:
        print(
            f"factory-reuse: {failed.module} cannot be imported: {failed.reason}", file=sys.stderr
        )
    return _status(result, settings)


def write(result: Audit, on: Paper) -> None:
    """Write an audit for people."""
    rows = [
        (each.factory, each.model, each.reuse, _key(each.key, each.inferred))
        for each in result.factories
    ]
    if rows:
        on.table(("factory", "model", "reuse", "key"), rows)
    for finding in result.findings:
        on.write("")
        name = finding.factory.rpartition(".")[2]
        place = f"{finding.path}:{finding.line}"
        on.write(f"{place}: {finding.severity} {finding.code} {name}", finding.severity)
        on.write(f"{finding.title}.", "heading", indent=2)
        on.write(finding.reason, indent=2)
        on.write(finding.remedy, "remedy", indent=2)
    on.write("")
    on.write(_summary(result), "heading")
    for identity in result.outdated:
        on.write(f"In the baseline, and no longer found: {identity}", "faint")


def _settings(arguments: argparse.Namespace) -> Settings:
    from factory_reuse._audit.settings import checked, read_settings
    from factory_reuse.errors import ReuseError

    settings = read_settings(Path.cwd())
    options = {name: getattr(arguments, name) for name in ("fail_on", "max_rows", "baseline")}
    given = {name: value for name, value in options.items() if value is not None}
    if arguments.modules:
        given["modules"] = arguments.modules
    own = checked(given, "the command line")
    settings = replace(settings, **{name: getattr(own, name) for name in given})
    if arguments.ignore:
        ignored = checked({"ignore": arguments.ignore}, "--ignore").ignore
        settings = replace(settings, ignore=settings.ignore + ignored)
    if not settings.modules:
        raise ReuseError(
            "Nothing to audit. Name the modules of the factories: factory-reuse audit "
            "tests.factories; or set modules in [factory_reuse] of setup.cfg or "
            "[tool.factory_reuse] of pyproject.toml."
        )
    if arguments.update_baseline and settings.baseline is None:
        raise ReuseError("--update-baseline needs --baseline FILE.")
    return settings


def _audit(arguments: argparse.Namespace, settings: Settings) -> Audit:
    from factory_reuse._audit.run import audit
    from factory_reuse._audit.settings import read_baseline

    baseline: frozenset[str] = frozenset()
    if settings.baseline is not None and not arguments.update_baseline:
        baseline = read_baseline(Path(settings.baseline))
    with database(arguments.db) as engine:
        return audit(settings.modules, settings, engine=engine, baseline=baseline)


def _status(result: Audit, settings: Settings) -> int:
    from factory_reuse._audit.findings import at_least

    if result.failed or not result.factories:
        return 2
    if settings.fail_on == "never":
        return 0
    return int(any(at_least(each.severity, settings.fail_on) for each in result.findings))


def _key(labels: tuple[str, ...], inferred: bool) -> str:
    if not labels:
        return "none"
    return "; ".join(labels) + (" (inferred)" if inferred else "")


def _summary(result: Audit) -> str:
    counts = [
        f"{sum(each.severity == severity for each in result.findings)} {severity}"
        for severity in reversed(_SEVERITIES)
    ]
    number = len(result.factories)
    parts = [f"{number} factor{'y' if number == 1 else 'ies'}", ", ".join(counts)]
    if result.failed:
        parts.append(f"{len(result.failed)} not imported")
    if result.ignored:
        parts.append(f"{result.ignored} ignored")
    if result.accepted:
        parts.append(f"{result.accepted} in the baseline")
    return "; ".join(parts)
