"""`python -m imgforge` is `imgforge`."""

from imgforge.cli import main

main()
