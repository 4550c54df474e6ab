"""The exceptions a caller can act on. Nothing else leaves the library, whatever bytes a capture holds.

Trouble on the wire is data: it becomes rows in `notes` and words in `reason`. Only trouble with the call raises::

    TlspcapError                      catches everything below
    ├── CaptureError                  this input could not be read at all
    │   ├── NotACapture               the bytes are of no known capture format
    │   └── UnknownLinkType           no interface in it has a link type that can be read
    ├── ArgumentError                 an argument's value makes no sense (also a ValueError)
    ├── StoreError                    a nightly store is missing, in use, or of another version
    └── MissingExtra                  a feature needs an optional package
"""


class TlspcapError(Exception):
    """Base of every error that tlspcap raises on purpose."""


class CaptureError(TlspcapError):
    """An input could not be read at all. The message says what, where (file and byte offset) and what to try."""


class NotACapture(CaptureError):
    """The bytes are of no capture format known here."""


class UnknownLinkType(CaptureError):
    """Every interface in the capture has a link type that cannot be read; the message names it."""


class ArgumentError(TlspcapError, ValueError):
    """An argument's value makes no sense, such as a column to group by that does not exist."""


class StoreError(TlspcapError):
    """A nightly store cannot be used: it is not there, another batch is at work, or its columns are others."""


class MissingExtra(TlspcapError):
    """An optional package is not installed; the message names the extra to install."""
