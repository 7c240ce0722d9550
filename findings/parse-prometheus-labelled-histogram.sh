#!/usr/bin/env bash
# parse-prometheus-text-format makes one histogram of all series of a family, with the buckets of the last one.
#
# Expected:  the buckets, the sum and the count of a histogram that has labels are kept apart by those labels, as in the
#            text format (Prometheus, "Exposition formats", histograms and summaries). The package's page says that its
#            output aims to be compatible with that of prom2json, which gives one entry, with its labels, for each set.
# Seen:      of two series with the same bucket limits one entry is left: without labels, without sum and count,
#            and with the buckets of the series that comes last. Summaries with quantiles fare the same. Counters keep
#            their labels, and a histogram without labels has all its parts. Nothing is raised.
#            prometheus_client's parser, as control, keeps both series.
# Versions:  npm parse-prometheus-text-format 1.1.1, Node 20; control PyPI prometheus_client 0.26.0.
# Matters:   a dashboard or a test in Node that reads a server's latencies by label (by route, by node, by reason)
#            shows the last label's buckets as if they were all.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund parse-prometheus-text-format@1.1.1
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check prometheus_client==0.26.0

cat >metrics <<'TXT'
# TYPE plain histogram
plain_bucket{le="1"} 1
plain_bucket{le="+Inf"} 2
plain_sum 3
plain_count 2
# TYPE wait histogram
wait_bucket{node="a",le="1"} 10
wait_bucket{node="a",le="+Inf"} 20
wait_sum{node="a"} 30
wait_count{node="a"} 20
wait_bucket{node="b",le="1"} 5
wait_bucket{node="b",le="+Inf"} 6
wait_sum{node="b"} 7
wait_count{node="b"} 6
# TYPE lag summary
lag{node="a",quantile="0.5"} 1
lag_sum{node="a"} 2
lag_count{node="a"} 3
lag{node="b",quantile="0.5"} 4
lag_sum{node="b"} 5
lag_count{node="b"} 6
# TYPE joins_total counter
joins_total{node="a"} 8
joins_total{node="b"} 9
TXT

cat >run.cjs <<'JS'
const parse = require('parse-prometheus-text-format');
for (const family of parse(require('node:fs').readFileSync('metrics', 'utf8'))) {
  console.log(family.name, JSON.stringify(family.metrics));
}
JS

cat >run.py <<'PY'
from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(open("metrics").read()):
    if family.name == "wait":
        for sample in family.samples:
            print("control", sample.name, sample.labels, sample.value)
PY

{ timeout 60 node run.cjs; timeout 60 python/bin/python run.py; } | tee seen
cat >expected <<'TXT'
plain [{"buckets":{"1":"1","+Inf":"2"},"count":"2","sum":"3"}]
wait [{"buckets":{"1":"5","+Inf":"6"}}]
lag [{"quantiles":{"0.5":"4"}}]
joins_total [{"value":"8","labels":{"node":"a"}},{"value":"9","labels":{"node":"b"}}]
control wait_bucket {'node': 'a', 'le': '1'} 10
control wait_bucket {'node': 'a', 'le': '+Inf'} 20
control wait_sum {'node': 'a'} 30
control wait_count {'node': 'a'} 20
control wait_bucket {'node': 'b', 'le': '1'} 5
control wait_bucket {'node': 'b', 'le': '+Inf'} 6
control wait_sum {'node': 'b'} 7
control wait_count {'node': 'b'} 6
TXT
if diff expected seen; then
  echo "FINDING HOLDS: a histogram with labels keeps only the buckets of its last series"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
