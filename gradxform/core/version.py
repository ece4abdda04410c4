"""The version of the library: a fact of its source, also where no distribution is installed."""

VERSION = "0.1.0"
