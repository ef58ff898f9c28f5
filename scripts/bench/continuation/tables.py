"""What continuation.py found, as Markdown."""

COLUMNS = {
    "tempo": "tempo within 2 %", "beat": "beat", "phase": "phase ≤ 30 ms", "chroma": "chroma", "level": "level ≤ 2 dB",
    "silent": "silent", "distance": "log-mel distance", "way": "way",
}
SHARES = ("tempo", "phase", "level", "silent", "way")  # printed as percentages


def way(report, distance):
    """How far a distance is from another piece's, towards the ceiling's: 0 is chance, 1 the best that the codec allows."""
    other, ceiling = (report["compared"][k]["distance"] for k in ("another piece", "codec's copy of the truth"))
    return (other - distance) / (other - ceiling) if other > ceiling else 0.0  # a codec worse than chance says nothing


def cell(row, column):
    return f"{100 * row[column]:.0f} %" if column in SHARES else f"{row[column]:.2f}"


def table(report):
    """One row for each continuation, those to compare with first."""
    lines = ["| continuation | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in (report["compared"] | report["rows"]).items():
        row = row | {"way": way(report, row["distance"])}
        lines.append(f"| {name} | " + " | ".join(cell(row, c) for c in COLUMNS) + " |")
    return "\n".join(lines)


def verdicts(report):
    """The aims, and which rows reach them."""
    ceiling = report["compared"]["codec's copy of the truth"]
    aims = {
        "tempo kept in at least 90 %": lambda r: r["tempo"] >= 0.9,
        "phase within 30 ms in at least 80 %": lambda r: r["phase"] >= 0.8,
        "chroma at least 0.8 of the codec's copy's": lambda r: r["chroma"] >= 0.8 * ceiling["chroma"],
        "none silent": lambda r: r["silent"] == 0,
        "log-mel distance at least half the way": lambda r: way(report, r["distance"]) >= 0.5,
    }
    lines = ["| aim | reached by | missed by |", "|---|---|---|"]
    for aim, reached in aims.items():
        sides = [[n for n, r in report["rows"].items() if reached(r) is side] for side in (True, False)]
        lines.append(f"| {aim} | " + " | ".join("all" if len(s) == len(report["rows"]) else "; ".join(s) or "none" for s in sides) + " |")
    return "\n".join(lines)


def figures(report):
    """The card's section."""
    c = report["codec"]
    return (
        f"{report['pieces']} held-out pieces: {report['prompt']:.0f} s heard, {report['new']:.0f} s made, as the model made them (no levelling, no fade).\n\n{table(report)}\n\n"
        "*beat*: autocorrelation of the onsets at the true beat. *phase*: of the beat in the first 4 s, against the prompt's. *chroma*: correlation with the prompt's. *level*: against the "
        "true continuation's. *silent*: some second below -50 dBFS. *log-mel distance*: to the true continuation, of mean and spread of 80 bands. *way*: from another piece's distance (0 %) to "
        "that of the codec's copy (100 %).\n\n"
        f"{verdicts(report)}\n\nThe codec alone, on the same pieces: SI-SDR {c['si_sdr']:.1f} dB, log-mel L1 {c['log_mel']:.2f}; above 4 kHz, correlation with itself one "
        f"frame of the codec later {c['buzz']:.2f} (a buzz), the truth's {c['true_buzz']:.2f}."
    )
