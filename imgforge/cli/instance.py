"""An instance as options describe it: a file of its own, and user data in place of that file's."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.metadata import Instance


def read_user_data(path: Path) -> bytes:
    """Return user data of a file. Raises BadInputError for more of it than EC2 takes."""
    from imgforge.user_data import read_source
    from imgforge.user_data_limit import excess

    data = read_source(path)
    if wrong := excess(data):
        raise BadInputError(
            f"File {path}: {wrong}.",
            hint="imgforge user-data make --gzip makes it smaller; #include fetches more.",
        )
    return data


def read_instance(
    path: Path | None, *, user_data: Path | None = None, instance_id: str | None = None
) -> "Instance":
    """Return the instance of a file, or that of an empty one.

    `user_data` goes before the file's; `instance_id` stands for one that the file does not name.
    Raises BadInputError, for a file with its line, and for more user data than EC2 takes.
    """
    from imgforge.metadata import default_instance, load_instance

    instance = load_instance(path, instance_id=instance_id) if path else default_instance()
    if user_data is not None:
        instance = replace(instance, user_data=read_user_data(user_data))
    return instance
