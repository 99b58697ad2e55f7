"""What a project says of the audit in its configuration, and the findings it has accepted."""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Iterable, Mapping

from typing_extensions import final

from factory_reuse.errors import ReuseError

from .findings import CODES, SEVERITIES, Finding

#: The section's name in setup.cfg; in pyproject.toml it is below ``tool``.
SECTION: Final = "factory_reuse"

DEFAULT_MAX_ROWS: Final = 10


@final
@dataclass(frozen=True)
class Settings:
    """What the audit is to do.

    Attributes:
        modules: what is audited if the command line names nothing.
        ignore: codes, or what they begin with (``FR5``), that are not reported.
        fail_on: the mildest severity that makes the exit status 1; ``"never"``.
        max_rows: how many rows one call may make.
        baseline: the file with the accepted findings.
    """

    modules: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: str = "warning"
    max_rows: int = DEFAULT_MAX_ROWS
    baseline: str | None = None

    def ignores(self, code: str) -> bool:
        """Whether a code is not reported."""
        return any(code.startswith(prefix) for prefix in self.ignore)


def read_settings(directory: Path) -> Settings:
    """Return what ``setup.cfg`` or ``pyproject.toml`` in the directory says.

    Raises:
        ReuseError: an option is unknown, or has a value that it cannot have; or TOML cannot be
            read here.
    """
    said = {**_of_setup_cfg(directory / "setup.cfg"), **_of_pyproject(directory / "pyproject.toml")}
    return checked(said)


def checked(said: Mapping[str, Any], source: str = "the configuration") -> Settings:
    """Return the settings that these options make.

    Raises:
        ReuseError: an option is unknown, or has a value that it cannot have.
    """
    options = {name.replace("-", "_"): value for name, value in said.items()}
    unknown = set(options) - set(Settings.__dataclass_fields__)
    if unknown:
        known = ", ".join(sorted(Settings.__dataclass_fields__))
        raise _bad(f"{source} has the unknown option {min(unknown)!r}; known: {known}.")
    for name in ("modules", "ignore"):
        if name in options:
            options[name] = _listed(name, options[name])
    for prefix in options.get("ignore", ()):
        if not any(code.startswith(prefix) for code in CODES):
            raise _bad(
                f"ignore={prefix!r} is neither a code nor how one begins; FR501 is one, and FR5."
            )
    if options.get("fail_on", "never") not in (*SEVERITIES, "never"):
        raise _bad(
            f"fail_on={options['fail_on']!r} is not possible; it takes one of "
            f"{', '.join(SEVERITIES)}, never."
        )
    if "max_rows" in options:
        text = str(options["max_rows"])
        if not re.fullmatch("[1-9][0-9]{0,8}", text):
            raise _bad(f"max_rows={text!r} is not possible; it takes a number from 1 on.")
        options["max_rows"] = int(text)
    if not isinstance(options.get("baseline", ""), str):
        raise _bad(f"baseline={options['baseline']!r} is not possible; it takes a file's name.")
    return Settings(**options)


def read_baseline(path: Path) -> frozenset[str]:
    """Return the identities of the findings that a project has accepted.

    Raises:
        ReuseError: the file is none that :func:`write_baseline` wrote.
    """
    try:
        accepted = json.loads(path.read_text("utf-8"))["accepted"]
        return frozenset(_listed("accepted", accepted))
    except (OSError, ValueError, KeyError, TypeError, ReuseError) as error:
        raise _bad(
            f"{path} is no baseline ({type(error).__name__}: {error}). Write one with "
            "--update-baseline."
        ) from error


def write_baseline(path: Path, findings: Iterable[Finding]) -> None:
    """Write the identities of the findings, in the same order each time.

    Raises:
        ReuseError: the file cannot be written.
    """
    accepted = sorted({finding.identity for finding in findings})
    text = json.dumps({"version": 1, "accepted": accepted}, indent=2) + "\n"
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise _bad(f"The baseline cannot be written: {error}.") from error


def _of_setup_cfg(path: Path) -> dict[str, Any]:
    text = _text(path)
    if not re.search(rf"^\[{SECTION}\]", text, re.M):
        return {}  # what else is wrong with the file is not ours to say
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text, str(path))
    except configparser.Error as error:
        raise _bad(f"{path} cannot be read: {error}") from error
    return dict(parser[SECTION])


def _of_pyproject(path: Path) -> dict[str, Any]:
    text = _text(path)
    if SECTION not in text:
        return {}
    try:
        import tomllib
    except ImportError:
        try:
            # The same module under its older name; a checker has one of the two at most.
            import tomli as tomllib  # type: ignore[no-redef, import-not-found, unused-ignore]
        except ImportError:
            if not re.search(rf"^\s*\[\s*tool\s*\.\s*\W?{SECTION}\W", text, re.M):
                return {}
            raise _bad(
                f"{path} has [tool.{SECTION}], and Python before 3.11 reads no TOML by itself. "
                "Install factory_reuse[cli], or use the section [factory_reuse] of setup.cfg."
            ) from None
    try:
        section: dict[str, Any] = tomllib.loads(text).get("tool", {}).get(SECTION, {})
    except ValueError as error:
        raise _bad(f"{path} cannot be read: {error}") from error
    return section


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(f"{path} cannot be read: {error}") from error


def _listed(name: str, value: Any) -> tuple[str, ...]:
    listed = re.findall(r"[^\s,]+", value) if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _bad(f"{name}={value!r} is not possible; it takes names, separated by commas.")
    return tuple(listed)


def _bad(message: str) -> ReuseError:
    return ReuseError(message)
