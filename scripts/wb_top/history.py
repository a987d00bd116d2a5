"""History: from samples to rates and series."""

from collections import deque

from .sample import Sample

SPAN = 60  # seconds that a sparkline shows
COUNTERS = ("captured_total", "coalesced_total", "written_total", "deleted_total", "batches_total", "bytes_total")


class Track:
    """The last minute of the totals or of one prefix."""

    def __init__(self):
        self.fields, self.rates, self.points, self.at = {}, {}, deque(), None

    def add(self, at: float, now: dict, restarted: bool) -> None:
        """A counter that went back belongs to a restarted server: no rate spans the restart."""
        before, seconds = self.fields, at - self.at if self.at is not None else 0
        steps = {name: now.get(name, 0) - before.get(name, 0) for name in COUNTERS}
        if before and not restarted and seconds > 0 and min(steps.values()) >= 0:
            self.rates = {name.removesuffix("_total"): step / seconds for name, step in steps.items()}
        else:
            self.rates = {}
        self.fields, self.at = now, at
        self.points.append((at, now["dirty_keys"], self.writes()))
        while self.points[0][0] < at - 2 * SPAN:
            self.points.popleft()

    def writes(self):
        """Documents written and deleted per second; None without two samples."""
        return self.rates["written"] + self.rates["deleted"] if self.rates else None

    def series(self, index: int, width: int, now: float) -> list:
        """The greatest value in each of `width` equal parts of the last SPAN seconds; a part without
        a sample has the value of the part before it."""
        parts, last = [None] * width, None
        for point in self.points:
            part, value = width - 1 - int((now - point[0]) * width / SPAN), point[index]
            if part < 0:
                last = value
            elif value is not None:
                parts[part] = max(value, parts[part] or 0)
        for part, value in enumerate(parts):
            last = parts[part] = last if value is None else value
        return parts


class History:
    def __init__(self):
        self.sample, self.totals, self.tracks = None, Track(), {}

    def add(self, sample: Sample) -> None:
        run_id = self.sample and self.sample.info.get("run_id")
        restarted = bool(run_id) and run_id != sample.info.get("run_id")
        self.sample = sample
        self.totals.add(sample.at, sample.totals, restarted)
        if restarted:
            self.tracks = {}
        registered = set(sample.registered)
        self.tracks = {key: track for key, track in self.tracks.items() if key in registered}
        for key, now in sample.read.items():
            self.tracks.setdefault(key, Track()).add(sample.at, now, False)
