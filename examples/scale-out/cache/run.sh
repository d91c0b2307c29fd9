#!/usr/bin/env bash
# nginx as cache and balancer before three evio-http, two over TCP and one over a unix socket, until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
data=$(mktemp -d)
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$data"' EXIT
trap exit INT TERM

mkdir "$data/site"
for page in 1 2 3 4 5 6 7 8 9; do
    echo "page $page" > "$data/site/$page.html"
done
cp nginx.conf "$data"
cd "$data" # where nginx.conf says that the unix socket is
evio-http "$data/site" --port 8441 --trust 127.0.0.1 --access-log "$data/one.log" &
evio-http "$data/site" --port 8442 --trust 127.0.0.1 --access-log "$data/two.log" &
evio-http "$data/site" "unix://$data/http.sock?mode=0660" --trust unix --access-log "$data/three.log" &
# Root's nginx would become somebody else, who may not enter the directory.
as=()
[ "$(id -u)" != 0 ] || as=(-g "user root;")
nginx -p "$data" -c "$data/nginx.conf" "${as[@]}" &
echo "try: curl -i http://127.0.0.1:8440/1.html"
wait
