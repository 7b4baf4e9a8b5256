"""A progress bar of one line on stderr."""

import sys

__all__ = ["Progress"]


class Progress:
    """Show how many cases are done and what is running now.

    Parameters
    ----------
    total : int
        Cases in all.
    stream : file, default=sys.stderr
        Where the bar goes; nothing is drawn unless it is a terminal.
    """

    def __init__(self, total, stream=None):
        self.total, self.done, self.width = total, 0, 24
        self.stream = sys.stderr if stream is None else stream

    def show(self, text):
        """Draw the bar with what is running now."""
        if self.stream.isatty():
            filled = self.width * self.done // max(self.total, 1)
            bar = "#" * filled + "." * (self.width - filled)
            self.stream.write(f"\r\x1b[K[{bar}] {self.done}/{self.total} {text:.70}")
            self.stream.flush()

    def note(self, text):
        """Leave a line above the bar."""
        clear = "\r\x1b[K" if self.stream.isatty() else ""
        self.stream.write(f"{clear}{text}\n")
        self.stream.flush()

    def step(self):
        """Count one case as done."""
        self.done += 1
