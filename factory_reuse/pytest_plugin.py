"""The pytest plugin: what the factories of a suite do, and what that costs.

pytest finds it by itself once the package is installed; ``-p factory_reuse.pytest_plugin`` names
it. Nothing else is imported until an option, a marker or the fixture asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from .report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("factory_reuse", "factories that reuse rows")
    group.addoption(
        "--reuse-report",
        action="append",
        nargs="?",
        const="",
        metavar="FILE",
        help="show at the end what the factories did, and what that cost; "
        "with FILE.json or FILE.html, write it there (may be given several times)",
    )
    group.addoption(
        "--reuse-leaks",
        action="store_true",
        help="show which reused rows one test changed and a later one received",
    )
    group.addoption(
        "--reuse-budget",
        action="append",
        metavar="created=500,statements=2000",
        help="fail if the factories of the whole run did more: calls, created, statements, seconds",
    )
    group.addoption(
        "--reuse-strict",
        action="store_true",
        help="turn each MismatchWarning into a failure",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers are, and do what the options ask for."""
    config.addinivalue_line("markers", "no_reuse: factories insert, as without factory_reuse")
    config.addinivalue_line(
        "markers",
        "reuse_budget(calls, created, statements, seconds): fail if the test's factories do more",
    )
    if config.option.reuse_strict:
        config.addinivalue_line("filterwarnings", "error::factory_reuse.MismatchWarning")
    if any(getattr(config.option, name) for name in _ASKED_BY):
        from ._suite.plugin import begin

        begin(config)


_ASKED_BY = ("reuse_report", "reuse_leaks", "reuse_budget", "reuse_strict")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Heed the markers, and the fixture, of a test."""
    off = item.get_closest_marker("no_reuse")
    told = (
        "reuse_report" in getattr(item, "fixturenames", ())
        or item.get_closest_marker("reuse_budget") is not None
    )
    if not off and not told:
        yield
        return
    from ._suite.plugin import around

    with around(item, off=bool(off), told=told):
        yield


@pytest.fixture
def reuse_report(request: pytest.FixtureRequest) -> Report:
    """What the test's reuse-enabled factories did so far, those of its fixtures included.

    Returns:
        A :class:`~factory_reuse.report.Report`, which fills as the calls are made.

    Example::

        def test_order(reuse_report):
            OrderFactory.create_batch(3, user__email="ann@example.org")
            assert reuse_report.by_factory["UserFactory"].created == 1
    """
    from ._suite.plugin import report_of

    return report_of(request)
