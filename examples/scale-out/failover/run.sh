#!/usr/bin/env bash
# A master, two replicas, three Sentinels and HAProxy before them, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
trap exit INT TERM

serve() {
    mkdir -p "$data/$1"
    evio-redis redis.conf --port "$1" --dir "$data/$1" --pidfile "$data/$1/pid" "${@:2}" &
}
serve 6421
serve 6422 --replicaof "127.0.0.1 6421"
serve 6423 --replicaof "127.0.0.1 6421"
for port in 6424 6425 6426; do
    mkdir "$data/$port"
    sed "s/^port .*/port $port/" sentinel.conf > "$data/$port/sentinel.conf"
    redis-sentinel "$data/$port/sentinel.conf" &
done
haproxy -db -f haproxy.cfg &
echo "try: redis-cli -p 6420 SET key value; redis-cli -p 6420 ROLE"
wait
