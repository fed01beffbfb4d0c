# SPDX-License-Identifier: Apache-2.0
"""A real terminal (tmux) in which a program runs, to be typed at and looked at."""

import shlex
import subprocess

from .waiting import eventually


class Terminal:
    """A window of a tmux server of its own; a shell runs in it, so that what a program leaves behind shows."""

    def __init__(self, folder, columns=80, rows=24, **environment):
        self.socket = f"{folder}/tmux"
        variables = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PS1": "$ ", "HISTFILE": "/dev/null",
                     "NO_COLOR": ""} | environment
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        self.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows,
                  "-c", folder, f"env {words} bash --norc --noprofile")
        self.wait("$")

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, *map(str, words)], check=True,
                              capture_output=True, text=True, timeout=60).stdout

    def run(self, *words):
        """Types a command line."""
        self.type(shlex.join(str(word) for word in words))
        self.press("Enter")

    def type(self, text):
        self.tmux("send-keys", "-l", text)

    def press(self, *keys):
        """Keys by tmux' names: Enter, Escape, Down, C-c, or a letter."""
        self.tmux("send-keys", *keys)

    def screen(self, colours=False):
        """The lines as they are on the screen."""
        return self.tmux("capture-pane", "-p", *(["-e"] if colours else [])).split("\n")

    def text(self):
        return "\n".join(self.screen())

    def state(self, name):
        return self.tmux("display-message", "-p", f"#{{{name}}}").strip()

    def resize(self, columns, rows):
        self.tmux("resize-window", "-x", columns, "-y", rows)

    def wait(self, *words, within=30):
        """Until all the words are on the screen."""
        return eventually(lambda: all(word in self.text() for word in words), within,
                          lambda: f"{words} on the screen:\n{self.text()}")

    def wait_gone(self, *words, within=30):
        return eventually(lambda: not any(word in self.text() for word in words), within,
                          lambda: f"{words} gone from the screen:\n{self.text()}")

    def line(self, *words):
        """The first line with all the words."""
        return next((line for line in self.screen() if all(word in line for word in words)), None)

    def close(self):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, timeout=60)
