#!/usr/bin/env bash
# A Ray cluster of several nodes and an S3 server on this machine: `cluster.sh up [NODES]`, `cluster.sh down`.
# State lies in $RECAST_LOCAL (default ~/.recast-local); `source $RECAST_LOCAL/env` points a shell at both.
# Everything listens on loopback addresses from $RECAST_LOCAL_IP (127.0.0.2) on, one a node, except Ray's own daemons;
# $RECAST_LOCAL_RAY_PORT, _DASHBOARD_PORT and _S3_PORT are for machines where the usual ports are taken.
set -euo pipefail

home=${RECAST_LOCAL:-$HOME/.recast-local}
bin=$(cd "$(dirname "$0")/../.." && pwd)/.venv/bin
head_ip=${RECAST_LOCAL_IP:-127.0.0.2}
head_port=${RECAST_LOCAL_RAY_PORT:-6399} dashboard_port=${RECAST_LOCAL_DASHBOARD_PORT:-8265} s3_port=${RECAST_LOCAL_S3_PORT:-9199}

up() {
  local count=${1:-2} cpus nodes
  [ ! -e "$home/env" ] || { echo "already up; '$0 down' first" >&2; exit 1; }
  cpus=$(nproc)
  nodes=$(mktemp -d /tmp/recast-XXXXXX)  # short, for Ray's sockets have long names and the system's limit is 107
  mkdir -p "$home/buckets/bucket"
  chmod 700 "$home"
  ln -sfn "$nodes" "$home/nodes"
  (umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$home/token")
  cat > "$home/env" <<ENV
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$home/token RAY_ADDRESS=$head_ip:$head_port RAY_USAGE_STATS_ENABLED=0
export RAY_API_SERVER_ADDRESS=http://$head_ip:$dashboard_port
export AWS_ENDPOINT_URL=http://$head_ip:$s3_port AWS_ACCESS_KEY_ID=recast AWS_SECRET_ACCESS_KEY=$(cut -c1-32 "$home/token")
export AWS_DEFAULT_REGION=us-east-1 PATH=$bin:\$PATH
export AWS_REQUEST_CHECKSUM_CALCULATION=when_required AWS_RESPONSE_CHECKSUM_VALIDATION=when_required
ENV
  # shellcheck disable=SC1091
  . "$home/env"
  nohup rclone serve s3 --addr "$head_ip:$s3_port" --auth-key "$AWS_ACCESS_KEY_ID,$AWS_SECRET_ACCESS_KEY" \
    "$home/buckets" > "$home/s3.log" 2>&1 &
  echo $! > "$home/s3.pid"
  unset RAY_ADDRESS
  ray start --head --node-ip-address=$head_ip --port=$head_port --dashboard-host=$head_ip \
    --dashboard-port=$dashboard_port --dashboard-agent-listen-port=$((dashboard_port + 101)) --num-cpus="$cpus" \
    --object-store-memory=300000000 --temp-dir="$nodes/1" > "$home/ray.log"
  for n in $(seq 2 "$count"); do
    # A temporary folder of its own: nodes that share one lose each other's working directories. And an agent's port of
    # its own: agents listen on 127.0.0.1 as well, and jobs are sent to any of them, also to one that couldn't.
    ray start --address="$head_ip:$head_port" --node-ip-address="${head_ip%.*}.$((${head_ip##*.} + n - 1))" \
      --dashboard-agent-listen-port=$((dashboard_port + 100 + n)) --num-cpus="$cpus" \
      --object-store-memory=300000000 --temp-dir="$nodes/$n" >> "$home/ray.log"
  done
  echo "up: $count nodes, dashboard http://$head_ip:$dashboard_port, S3 http://$head_ip:$s3_port"
  echo "source $home/env"
}

# Processes and all that they started: the agents of Ray's nodes go by names that tell nothing of whose they are.
trees() {
  local process
  for process in "$@"; do
    echo "$process"
    # shellcheck disable=SC2046
    trees $(pgrep -P "$process")
  done
}

down() {
  [ -e "$home/env" ] || { echo "nothing is up" >&2; exit 0; }
  local nodes ours
  nodes=$(readlink "$home/nodes")
  # shellcheck disable=SC1091
  . "$home/env"
  # shellcheck disable=SC2046
  ours=$(trees $(pgrep -f "$nodes/|--address=$RAY_ADDRESS ") $(cat "$home/s3.pid"))
  # shellcheck disable=SC2086
  kill -TERM $ours 2> /dev/null || true
  # shellcheck disable=SC2086
  for _ in $(seq 50); do kill -0 $ours 2> /dev/null || break; sleep 0.1; done
  # shellcheck disable=SC2086
  kill -KILL $ours 2> /dev/null || true
  rm -rf "$nodes" "$home/nodes" "$home/env" "$home/token" "$home/s3.pid"
  echo "down; buckets are kept in $home/buckets"
}

case ${1:-} in
  up) shift; up "$@" ;;
  down) down ;;
  *) echo "usage: $0 up [NODES] | down" >&2; exit 2 ;;
esac
