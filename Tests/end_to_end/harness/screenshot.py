# SPDX-License-Identifier: Apache-2.0
"""A picture of a status page: python -m harness.screenshot http://127.0.0.1:9127/ page.webp [light|dark] [width] [height]"""

import sys

from .browser import Browser


def main(address, path, scheme="light", width=1200, height=900):
    browser = Browser()
    try:
        tab = browser.open(address, scheme=scheme, width=int(width), height=int(height))
        tab.until("!document.getElementById('verdict').hidden")
        tab.screenshot(path, whole=False)
    finally:
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
