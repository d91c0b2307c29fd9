#!/usr/bin/env bash
# A cluster of two shards, each a master and a replica, and three Sentinels that write its map, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
trap exit INT TERM

for port in 6451 6452 6453 6454; do
    mkdir "$data/$port"
    # Each server has the same map, in which its own line says "myself".
    sed -E "s/(:$port@0) /\1 myself,/" nodes.conf > "$data/$port/nodes.conf"
    evio-redis --port "$port" --cluster-enabled yes --dir "$data/$port" --appendonly yes --pidfile "$data/$port/pid" &
done

# Sentinel starts a script without arguments of one's own, so this one knows the maps. On several machines each Sentinel
# writes those of its own.
maps=$(printf '"%s" ' "$data"/*/nodes.conf)
printf '#!/bin/sh\nexec "%s" "%s/promote.py" %s -- "$@"\n' "$(command -v python3)" "$PWD" "$maps" > "$data/reconfigure"
chmod +x "$data/reconfigure"
for port in 6457 6458 6459; do
    mkdir "$data/$port"
    sed -e "s/^port .*/port $port/" -e "s|DATA|$data|" sentinel.conf > "$data/$port/sentinel.conf"
    redis-sentinel "$data/$port/sentinel.conf" &
done
echo "try: redis-cli -c -p 6451 SET key value; redis-cli -p 6451 CLUSTER NODES"
wait
