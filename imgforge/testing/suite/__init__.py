"""The built-in acceptance suite: what any image for EC2 should do, as tests to learn from.

`imgforge test DISK` runs it; so does `pytest --image DISK --pyargs imgforge.testing.suite`.
What does not apply to an image is skipped, and the reason names what the image lacks.
"""
