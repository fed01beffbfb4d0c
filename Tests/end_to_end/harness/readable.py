# SPDX-License-Identifier: Apache-2.0
"""What a page lets be read: the contrast of each of its words, computed where it is drawn."""

# For each visible text: its contrast with what is behind it, by the formula of WCAG 2.
CONTRASTS = r"""
(() => {
  const channels = text => {
    const found = text.match(/[\d.]+%?/g).map(parseFloat);
    const unit = text.startsWith("color(") ? 255 : 1;
    return [found[0] * unit, found[1] * unit, found[2] * unit, found[3] ?? 1];
  };
  const over = (top, bottom) => top.slice(0, 3).map((one, i) => one * top[3] + bottom[i] * (1 - top[3]));
  const backdrop = element => {
    if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255];
    const own = channels(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, backdrop(element.parentElement));
  };
  const isGrey = element => !!element && (getComputedStyle(element).filter.includes("grayscale") || isGrey(element.parentElement));
  const grey = c => { const one = .2126 * c[0] + .7152 * c[1] + .0722 * c[2]; return [one, one, one]; };
  const luminance = c => {
    const [r, g, b] = c.map(one => one / 255).map(one => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const opacity = element => element ? parseFloat(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const contrast = (element, style, property) => {
    let behind = backdrop(element), front = channels(style[property]);
    front = over([...front.slice(0, 3), front[3] * opacity(element)], behind);
    if (isGrey(element)) { behind = grey(behind); front = grey(front); }
    const [high, low] = [luminance(front), luminance(behind)].sort((a, b) => b - a);
    return (high + .05) / (low + .05);
  };
  const found = [], add = (text, element, style, property = "color") => {
    if (text.trim() && element.checkVisibility({ visibilityProperty: true })) {
      found.push([contrast(element, style, property), text.trim().slice(0, 40), element.tagName + "." + (element.getAttribute("class") || "")]);
    }
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (["SCRIPT", "STYLE", "OPTION", "NOSCRIPT"].includes(element.tagName)) continue;
    add(texts.currentNode.data, element, getComputedStyle(element), element instanceof SVGElement ? "fill" : "color");
  }
  for (const element of document.querySelectorAll("*")) {
    const before = getComputedStyle(element, "::before");
    if (before.content && !["none", "normal"].includes(before.content)) add(before.content, element, before);
    if (element.placeholder) add(element.placeholder, element, getComputedStyle(element, "::placeholder"));
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""

# Boxes that reach over the window's right edge and are not in a box that scrolls by itself.
TOO_WIDE = r"""
[...document.querySelectorAll("body *")].filter(one => one.checkVisibility() && !one.closest(".scroll, .hidden")
  && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(one => one.outerHTML.slice(0, 120))
"""


def contrasts(tab):
    """(contrast, text, element) of all that is to be read, the worst first."""
    return tab.value(CONTRASTS)


def too_wide(tab):
    return tab.value(TOO_WIDE)
