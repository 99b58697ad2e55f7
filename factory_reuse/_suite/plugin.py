"""The half of the pytest plugin that is imported when something of it is asked for."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Callable, Final, Iterator

import pytest
from typing_extensions import final

from .. import _scope
from ..report import Report
from . import budget, table
from .calls import Calls, factories_in, merge
from .figures import OUTSIDE, Figures, Part, spent
from .files import WRITERS, write
from .rows import Rows
from .tracer import Tracer

NAME: Final = "factory_reuse.suite"


def begin(config: pytest.Config) -> None:
    """Follow the whole run, as its options say.

    Raises:
        pytest.UsageError: an option has a value that it cannot have.
    """
    options: Any = config.option
    files = [Path(name) for name in options.reuse_report or () if name]
    for file in files:
        if file.suffix not in WRITERS:
            raise pytest.UsageError(
                f"--reuse-report={file}: the name of a report's file ends with "
                f"{' or '.join(WRITERS)}. If this is what to test, write --reuse-report= before it."
            )
        if file.is_dir():
            raise pytest.UsageError(f"--reuse-report={file} is a directory.")
    limits: dict[str, float] = {}
    for given in options.reuse_budget or ():
        try:
            limits.update(budget.parsed(given))
        except ValueError as error:
            raise pytest.UsageError(f"--reuse-budget: {error}") from None
    suite = Suite(config, Rows(leaks=options.reuse_leaks))
    suite.begin()
    config.pluginmanager.register(suite, NAME)
    config.add_cleanup(suite.end)
    if not hasattr(config, "workerinput"):  # a worker of pytest-xdist shows nothing itself
        config.pluginmanager.register(Output(suite, config, files, limits), f"{NAME}.output")


@contextlib.contextmanager
def around(item: pytest.Item, *, off: bool, told: bool) -> Iterator[None]:
    """For one test, do what its markers and its fixture ask for.

    Args:
        off: whether its factories insert.
        told: whether there must be someone who takes down what they do.
    """
    manager = item.config.pluginmanager
    with contextlib.ExitStack() as stack:
        if off:
            stack.enter_context(_scope.everywhere(off=True))
        if told and not manager.has_plugin(NAME):
            stack.callback(_begin_at(item.config).close)
        yield


def report_of(request: pytest.FixtureRequest) -> Report:
    """Return what the present test's calls led to.

    From now on, if nobody took them down before: the fixture was asked for by a name at run time.
    """
    if not request.config.pluginmanager.has_plugin(NAME):
        request.addfinalizer(_begin_at(request.config).close)
    suite: Any = request.config.pluginmanager.get_plugin(NAME)
    report: Report = suite.tracer.report
    return report


def _begin_at(config: pytest.Config) -> contextlib.ExitStack:
    """Follow the tests from here on, until the stack is closed."""
    suite = Suite(config, None)  # which rows it was, only a report tells
    suite.begin()
    stack = contextlib.ExitStack()
    stack.callback(suite.end)
    config.pluginmanager.register(suite, NAME)
    stack.callback(config.pluginmanager.unregister, suite)
    return stack


@final
class Suite:
    """Follows the tests of this process, and puts what they did on their reports.

    Args:
        rows: who follows the rows, if anyone.
    """

    def __init__(self, config: pytest.Config, rows: Rows | None) -> None:
        self.rows = Rows(leaks=False) if rows is None else rows
        self.tracer = Tracer(None if rows is None else rows.witness)
        self._follows_rows = rows is not None
        self._config = config
        self._listening = contextlib.ExitStack()
        self._part: Part | None = None
        #: What was done before the tests, and between them.
        self._outside: list[Calls] = []
        #: What the test has done, and how much of it in fixtures that other tests have, too.
        self._calls: list[Calls] = []
        self._wide: list[Calls] = []
        self._in_wide = False

    def begin(self) -> None:
        """Listen."""
        if self._follows_rows:
            self._listening.enter_context(self.rows.listening())
        self._listening.enter_context(self.tracer.listening())

    def end(self) -> None:
        """Leave all as it was."""
        self._listening.close()

    def begin_test(self, item: pytest.Item) -> None:
        """Forget the test before."""
        merge(self._outside, self.tracer.take())
        self._calls, self._wide = [], []
        self.rows.begin_test(item.nodeid)
        self.tracer.begin_test()

    def outside(self) -> Part:
        """Return what was done outside of the tests."""
        merge(self._outside, self.tracer.take())
        return self._part_of(self._outside)

    # What pytest calls -----------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.begin_test(item)  # here, since this is where a flaky test begins again
        yield
        self._end_phase()

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Any:
        outcome = yield
        self._end_phase()
        marker = item.get_closest_marker("reuse_budget")
        if marker is not None and outcome.excinfo is None:
            try:
                self._check(marker)
            except pytest.fail.Exception as failure:
                outcome.force_exception(failure)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        yield
        self.rows.end_test()
        self._end_phase()
        self.rows.begin_test(OUTSIDE)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        if fixturedef.scope == "function" or self._in_wide:
            yield
            return
        mark, test = self.tracer.begin(), self.rows.test
        # Which test is the first to want it, and the last, is chance.
        name = "::".join(filter(None, (fixturedef.baseid, fixturedef.argname)))

        def ours() -> None:
            self.rows.test = f"the fixture {name}"

        def theirs(test: str = OUTSIDE) -> None:
            self.rows.test = test

        fixturedef.addfinalizer(theirs)  # the one that is added first runs last
        ours()
        self._in_wide = True
        yield
        self._in_wide = False
        theirs(test)
        fixturedef.addfinalizer(ours)
        merge(self._wide, self.tracer.since(mark))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Any:
        # Before the transaction of the test, and what is known of it, ends.
        received = self.rows.received() if call.excinfo is not None else []
        outcome = yield
        report = outcome.get_result()
        if report.failed and received:
            lines = table.received_lines(received, item.nodeid, self._names())
            report.sections.append(("Reused rows", "\n".join(lines)))
        # There is none for a subtest, whose phase goes on.
        part, self._part = self._part, None
        if part is not None:
            report.factory_reuse = part

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["factory_reuse"] = json.dumps(self.outside())

    def _end_phase(self) -> None:
        self._part = self._part_of(self.tracer.take())
        merge(self._calls, self._part["calls"])

    def _part_of(self, calls: list[Calls]) -> Part:
        leaks, self.rows.leaks = self.rows.leaks, []
        # Not all that are known: this goes from process to process with each phase of each test.
        named = factories_in(calls).union(leak["factory"] for leak in leaks)
        known = self.tracer.factories
        return {"factories": {name: known[name] for name in named}, "calls": calls, "leaks": leaks}

    def _check(self, marker: Any) -> None:
        limits, wrong = _limits(marker)
        if wrong:
            pytest.fail(f"reuse_budget: {wrong}", pytrace=False)
        exceeded = budget.exceeded(limits, self._calls, self._wide)
        if exceeded:
            figures = self._names()
            lines = table.factory_lines(figures, figures.factories(self._calls), width=100)
            pytest.fail("\n".join((f"over its reuse budget: {exceeded}", *lines)), pytrace=False)

    def _names(self) -> Figures:
        """Return figures of this process, which know the factories' names."""
        figures = Figures()
        figures.add("", 0.0, {"factories": self.tracer.factories, "calls": [], "leaks": []})
        return figures


def _limits(marker: Any) -> tuple[dict[str, float], str]:
    """Return the limits that a marker sets, and what is wrong with them."""
    if marker.args:
        return {}, "a budget is given by name: reuse_budget(created=3)"
    try:
        return budget.checked(marker.kwargs), ""
    except ValueError as error:
        return {}, str(error)


@final
class Output:
    """Collects what is on the tests' reports, from all processes, and shows it at the end.

    Args:
        files: where it is written.
        limits: what the whole run may not exceed.
    """

    def __init__(
        self, suite: Suite, config: pytest.Config, files: list[Path], limits: dict[str, float]
    ) -> None:
        self._suite = suite
        self._config = config
        self._files = files
        self._limits = limits
        self._figures = Figures()
        self._exceeded = ""
        self._unwritten: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        part: Part | None = getattr(report, "factory_reuse", None)
        if part is not None:
            self._figures.add(report.nodeid, report.duration, part)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        # Each worker imports the same modules: one of them stands for all.
        output = getattr(node, "workeroutput", {}).get("factory_reuse")
        if output is not None and OUTSIDE not in self._figures.tests:
            self._add_outside(json.loads(output))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._add_outside(self._suite.outside())
        calls = self._figures.all_calls()
        self._exceeded = budget.exceeded(self._limits, calls, [])
        for file in self._files if self._figures.tests else ():
            try:
                write(file, self._figures)
            except OSError as error:
                self._unwritten.append(f"factory reuse report: {error}")
        failed = self._exceeded or self._unwritten
        if failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._figures.tests:
            return  # nothing was run
        shows_report = self._config.getoption("reuse_report") is not None
        width = terminalreporter._tw.fullwidth
        if shows_report or self._exceeded:
            terminalreporter.section("factory reuse")
            _print(terminalreporter, lambda: table.report_lines(self._figures, width))
        if self._figures.leaks or self._config.getoption("reuse_leaks"):
            terminalreporter.section("reused rows that a test changed for another one")
            leaks = self._figures.leaks
            _print(terminalreporter, lambda: table.leak_lines(self._figures, leaks))
            if not leaks:
                terminalreporter.write_line("none")
        for file in self._files if not self._unwritten else ():
            terminalreporter.write_line(f"factory reuse report: {file}")
        for line in self._unwritten:
            terminalreporter.write_line(line, red=True)
        if self._exceeded:
            line = f"over the reuse budget: {self._exceeded}"
            terminalreporter.write_line(line, red=True)

    def _add_outside(self, part: Part) -> None:
        if part["calls"]:
            self._figures.add(OUTSIDE, spent(part["calls"]), part)


def _print(terminalreporter: Any, lines: Callable[[], Iterator[str]]) -> None:
    for line in lines():
        terminalreporter.write_line(line)
