"""The version of every package of the project: the one place where it is written."""

__all__ = ["__version__"]

__version__ = "0.1.0"
