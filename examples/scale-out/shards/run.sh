#!/usr/bin/env bash
# Three shards and the proxy before them, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
trap exit INT TERM

for port in 6411 6412 6413; do
    mkdir "$data/$port"
    evio-redis --port "$port" --dir "$data/$port" --appendonly yes --pidfile "$data/$port/pid" &
done
nutcracker --conf-file nutcracker.yml --stats-port 6419 --stats-addr 127.0.0.1 --pid-file "$data/nutcracker.pid" &
echo "try: redis-cli -p 6410 SET key value"
wait
