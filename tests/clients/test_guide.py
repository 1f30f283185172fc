"""The guide itself: no command of it is left out here."""

from pathlib import Path

import guide

HERE = Path(__file__).parent


def sources():
    """The suites, with string literals that stand side by side joined."""
    import ast

    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_command_is_run():
    run = set(sources())
    # The two of the SDK for Go are its module, which test_go.py compares.
    commands = [command for command in guide.commands() if not command.startswith("go get ")]
    assert len(commands) > 25, "the guide is read"
    assert [command for command in commands if command not in run] == []
