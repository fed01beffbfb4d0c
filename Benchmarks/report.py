# SPDX-License-Identifier: Apache-2.0
"""What a run is told as: ratios under stable names, a table, and a plot."""

from html import escape
from math import floor, log10

from figures import spread

# The figures of a load, as ratios and tables call them: key in a run, decimals, title.
FIGURES = {
    "throughput": ("throughput", 0, "per second"), "p50": ("p50_ms", 3, "p50 ms"), "p99": ("p99_ms", 3, "p99 ms"),
    "p999": ("p999_ms", 3, "p99.9 ms"), "cpu": ("cpu_us", 1, "CPU µs"), "user": ("user_us", 1, "user"),
    "system": ("system_us", 1, "system"), "calls": ("calls", 2, "system calls"), "memory": ("memory", 0, "memory MB"),
}
RELAY = "pglease"
COLOURS = {"direct": "#8a8f98", "pglease": "#2f6fde", "lease": "#17a2a2", "pgbouncer": "#e0812e",
           "odyssey": "#9a5fd0", "pgagroal": "#c2453f"}


# Ratios.

def ratio_name(load, clients, figure, way, base):
    """What a ratio is called: the relay is the one that is meant where none is named."""
    subject = "" if way == RELAY else f".{way}"
    return f"{load}.{clients}.{figure}{subject}.of_{base}"


def ratios(cells, scenarios):
    """Every ratio of a run, with its spread: median of the ratios of each round, whose runs the machine was as busy for."""
    found = {}
    for (load, clients), runs in cells.items():
        for way in runs:
            for base in runs:
                if way == base or (way not in (RELAY, "lease") and base != "direct"):
                    continue
                for figure, (key, _, _) in FIGURES.items():
                    each = [one[key] / other[key] for one, other in zip(runs[way], runs[base])
                            if one.get(key) is not None and other.get(key)]
                    if each:
                        found[ratio_name(load, clients, figure, way, base)] = spread(each)
    for name, ways in scenarios.items():
        for base, figures in ways.items():
            ours = ways.get(RELAY, {})
            for figure, value in ours.items():
                if base != RELAY and isinstance(value, (int, float)) and figures.get(figure):
                    found[f"{name}.{figure}.of_{base}"] = spread([value / figures[figure]])
    return found


# The table.

def shown(figure, name):
    key, decimals, _ = FIGURES[name]
    value = figure.get(key)
    if value is None:
        return "–"
    scale = 1 / 1024 ** 2 if name == "memory" else 1
    decimals = 1 if name == "memory" else decimals
    text = f"{value['median'] * scale:,.{decimals}f}"
    if name == "throughput" and value["least"] != value["most"]:
        text += f" ({value['least']:,.0f}–{value['most']:,.0f})"
    return text


def refusal(figures):
    why = figures["cannot"]
    return why if why.startswith("left out") else f"cannot: {why}"


def machine_lines(results):
    machine, versions = results["machine"], results["versions"]
    yield (f"{results['date']}, {machine['processors']} processors ({machine['processor']}), "
           f"{machine['memory_gb']} GB, Linux {machine['kernel']}; load before: {machine['load_before']}.")
    yield "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items() if value) + "."
    yield (f"Medians of {results['rounds']} rounds of {results['seconds']} s (least–most), pool of "
           f"{results['pool_size']}; ratios are medians of the rounds' own. The whole took {results['took_s']:.0f} s.")


def markdown(results):
    lines = ["# Benchmarks", "", *machine_lines(results), ""]
    if results["loads"]:
        titles = [title for _, _, title in FIGURES.values()]
        head = ["load", "clients", "through", *titles, "of direct", "of pgbouncer", "CPU of pgbouncer"]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for load, counts in results["loads"].items():
        for clients, ways in counts.items():
            for way, figures in ways.items():
                start = f"| {load} | {clients} | {way} | "
                if "cannot" in figures:
                    lines.append(start + refusal(figures).replace("|", "/") + " |" + " |" * (len(head) - 4))
                    continue
                values = [shown(figures, name) for name in FIGURES]
                values += [of(figures, ways, base, key) for base, key in (
                    ("direct", "throughput"), ("pgbouncer", "throughput"), ("pgbouncer", "cpu_us"))]
                lines.append(start + " | ".join(values) + " |")
    for name, ways in results["scenarios"].items():
        lines += ["", f"## {name}: {results['titles'][name]}", ""]
        columns = list(dict.fromkeys(
            key for figures in ways.values() if "cannot" not in figures for key in figures))
        lines += ["| through | " + " | ".join(columns or ["figures"]) + " |", "|---|" + "---|" * max(1, len(columns))]
        for way, figures in ways.items():
            if "cannot" in figures:
                values = [refusal(figures).replace("|", "/")] + [""] * (max(1, len(columns)) - 1)
            else:
                values = [f"{figures[key]:,.4g}" if key in figures else "–" for key in columns]
            lines.append(f"| {way} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def of(figures, ways, base, key):
    one, other = figures.get(key), ways.get(base, {}).get(key)
    return f"{one['median'] / other['median']:.2f}" if one and other and other["median"] else "–"


# The plot.

STYLE = """
svg { color: #1d2430; background: #ffffff; font: 12px system-ui, sans-serif; }
text { fill: currentColor; } .faint { opacity: .65; } .line { stroke: currentColor; opacity: .25; }
.base { stroke: currentColor; opacity: .7; stroke-dasharray: 4 3; }
@media (prefers-color-scheme: dark) { svg { color: #e4e8ef; background: #14181f; } }
"""
WIDTH, PANEL, LEFT, GAP = 960, 150, 150, 44


class Plot:
    """A row of two panels for each load: throughput as bars, 1 is a connection of its own; p99 as points."""

    def __init__(self, results):
        self.results, self.parts = results, []
        self.ways = [way for way in COLOURS if any(
            way in ways for counts in results["loads"].values() for ways in counts.values())]

    def text(self, x, y, words, **more):
        given = " ".join(f'{key.rstrip("_").replace("_", "-")}="{value}"' for key, value in more.items())
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {given}>{escape(str(words))}</text>')

    def line(self, x1, y1, x2, y2, kind="line"):
        self.parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def draw(self):
        loads = self.results["loads"]
        height = 70 + len(loads) * (PANEL + GAP)
        self.text(16, 24, "pglease: throughput and latency by clients", font_size=16, font_weight=600)
        x = 16
        for way in self.ways:
            self.parts.append(f'<rect x="{x}" y="36" width="11" height="11" rx="2" fill="{COLOURS[way]}"/>')
            self.text(x + 16, 46, way)
            x += 34 + 8 * len(way)
        middle = LEFT + (WIDTH - LEFT) * 0.56
        for number, (load, counts) in enumerate(loads.items()):
            top = 78 + number * (PANEL + GAP)
            self.text(16, top + 14, load, font_weight=600)
            self.bars(counts, LEFT, middle - 40, top)
            self.points(counts, middle + 20, WIDTH - 24, top)
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
                f'height="{height}" role="img"><style>{STYLE}</style>' + "\n".join(self.parts) + "</svg>\n")

    def bars(self, counts, left, right, top):
        base = "direct" if any("throughput" in ways.get("direct", {}) for ways in counts.values()) else RELAY
        values = {(clients, way): ways[way]["throughput"]["median"] / ways[base]["throughput"]["median"]
                  for clients, ways in counts.items() if "throughput" in ways.get(base, {})
                  for way in self.ways if "throughput" in ways.get(way, {})}
        most = max([1.0, *values.values()])
        bottom = top + PANEL - 18
        scale = (bottom - top - 8) / most
        self.text(left, top - 4, f"throughput, of {base}", class_="faint")
        self.line(left, bottom, right, bottom)
        slot = (right - left) / max(1, len(counts))
        width = min(16, slot * 0.8 / max(1, len(self.ways)))
        for place, clients in enumerate(counts):
            start = left + slot * place + (slot - width * len(self.ways)) / 2
            self.text(left + slot * (place + 0.5), bottom + 14, f"{clients} clients", text_anchor="middle",
                      class_="faint")
            for number, way in enumerate(self.ways):
                value = values.get((clients, way))
                x = start + number * width
                if value is None:
                    if way in counts[clients]:
                        self.text(x + width / 2, bottom - 3, "×", text_anchor="middle", fill=COLOURS[way])
                    continue
                self.parts.append(
                    f'<rect x="{x:.1f}" y="{bottom - value * scale:.1f}" width="{width - 1:.1f}" '
                    f'height="{value * scale:.1f}" rx="1.5" fill="{COLOURS[way]}">'
                    f"<title>{escape(way)}, {clients} clients: {value:.2f}</title></rect>")
        self.line(left, bottom - scale, right, bottom - scale, "base")

    def points(self, counts, left, right, top):
        values = {(clients, way): ways[way]["p99_ms"]["median"] for clients, ways in counts.items()
                  for way in self.ways if ways.get(way, {}).get("p99_ms", {}).get("median")}
        self.text(left, top - 4, "p99, ms", class_="faint")
        bottom = top + PANEL - 18
        self.line(left, bottom, right, bottom)
        if not values:
            return
        low, high = power_below(min(values.values())), power_below(max(values.values())) + 1
        slot = (right - left - 30) / max(1, len(counts))

        def height(value):
            return bottom - (log10(value) - low) / (high - low) * (bottom - top - 8)

        for power in range(low, high + 1):
            self.line(left + 30, height(10 ** power), right, height(10 ** power))
            self.text(left + 26, height(10 ** power) + 4, f"{10.0 ** power:g}", text_anchor="end", class_="faint")
        for way in self.ways:
            path = []
            for place, clients in enumerate(counts):
                if (clients, way) in values:
                    path.append((left + 30 + slot * (place + 0.5), height(values[clients, way]), clients))
            if len(path) > 1:
                along = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in path)
                self.parts.append(f'<polyline points="{along}" fill="none" stroke="{COLOURS[way]}" stroke-width="2"/>')
            for x, y, clients in path:
                self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS[way]}">'
                                  f"<title>{escape(way)}, {clients} clients: {values[clients, way]:.3f} ms</title></circle>")
        for place, clients in enumerate(counts):
            self.text(left + 30 + slot * (place + 0.5), bottom + 14, clients, text_anchor="middle", class_="faint")


def power_below(value):
    return floor(log10(value))


def plot(results):
    return Plot(results).draw()
