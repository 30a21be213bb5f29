"""HdrHistogram's own reader reads a histogram log; says as JSON what it found of each tag.

Argument: the log.
"""

import json
import sys

from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

LONGEST = 60_000_000
LEVELS = {"p50": 50, "p75": 75, "p90": 90, "p95": 95, "p99": 99, "p999": 99.9, "p9999": 99.99}

reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, LONGEST, 3))
tags = {}
while (interval := reader.get_next_interval_histogram()) is not None:
    found = tags.setdefault(interval.get_tag(), {"starts_ms": [], "times": HdrHistogram(1, LONGEST, 3)})
    found["starts_ms"].append(interval.get_start_time_stamp())
    found["times"].add(interval)
for found in tags.values():
    times = found.pop("times")
    found["count"] = times.get_total_count()
    found["max"] = times.get_max_value()
    for name, level in LEVELS.items():
        found[name] = times.get_value_at_percentile(level)
print(json.dumps({"start_s": reader.get_start_time_sec(), "tags": tags}))
