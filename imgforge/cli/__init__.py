"""What a person types: commands, progress, plain words, exit codes."""

from imgforge.cli.main import main

__all__ = ["main"]
