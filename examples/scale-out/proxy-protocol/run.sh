#!/usr/bin/env bash
# HAProxy before evio-redis and evio-http, which learn from it who their clients are, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
trap exit INT TERM

# 6432 is for those who are no load balancer: replicas, Sentinel, an administrator.
evio-redis --port 6432 --proxy-protocol-port 6433 --dir "$data" &
mkdir "$data/site"
echo "hello" > "$data/site/index.html"
evio-http "$data/site" --port 8433 --proxy-protocol --trust 127.0.0.1 --health /health --access-log - &
evio-http "$data/site" --port 8434 --trust 127.0.0.1 --health /health --access-log - &
haproxy -db -f haproxy.cfg &
echo "try: redis-cli -p 6431 CLIENT LIST; curl --interface 127.0.0.2 http://127.0.0.1:8431/"
wait
