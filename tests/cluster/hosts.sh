#!/usr/bin/env bash
# Train on two hosts: two network namespaces with a link between them, and torchrun's c10d rendezvous: tests/cluster/hosts.sh PYTHON
#
# Needs root and iproute2. The hosts share no run folder. It checks that
#   1. two hosts come to the weights of one process, to 1e-4;
#   2. when a host dies, the other ends with one sentence;
#   3. the run resumes on one host.
set -euo pipefail
python=$(realpath -s "${1:-.venv/bin/python}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /tmp/hosts-test.XXXXXX)
say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }
[ "$(id -u)" = 0 ] || fail "Network namespaces need root."
command -v ip >/dev/null || apt-get install -y -qq iproute2 >/dev/null
stop() {
  pkill -KILL -f "$work" || true
  for host in left right; do ip netns del "nt-$host" 2>/dev/null || true; done
  if [ "${KEEP:-}" ]; then say "kept $work"; else rm -rf "$work"; fi
}
trap stop EXIT
for host in left right; do ip netns add "nt-$host"; ip -n "nt-$host" link set lo up; done
ip link add nt-veth-l netns nt-left type veth peer name nt-veth-r netns nt-right
ip -n nt-left addr add 192.0.2.1/24 dev nt-veth-l && ip -n nt-left link set nt-veth-l up
ip -n nt-right addr add 192.0.2.2/24 dev nt-veth-r && ip -n nt-right link set nt-veth-r up

"$python" "$root/tests/cluster/two_hosts.py" data "$work/stems"
train() {  # host link folder iterations port
  ip netns exec "nt-$1" env PYTHONPATH="$root" OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME="$2" "$python" -m torch.distributed.run \
    --nnodes 2 --nproc_per_node 1 --rdzv_backend c10d --rdzv_endpoint "192.0.2.1:$5" --rdzv_id "run$5" \
    --rdzv_conf "is_host=$([ "$1" = left ] && echo 1 || echo 0)" \
    --local_addr "$([ "$1" = left ] && echo 192.0.2.1 || echo 192.0.2.2)" --max_restarts 0 \
    "$root/tests/cluster/two_hosts.py" train "$work/stems" "$3" "$4"
}
alone() { PYTHONPATH="$root" OMP_NUM_THREADS=1 "$python" "$root/tests/cluster/two_hosts.py" train "$work/stems" "$1" "$2"; }

say "1. one process, and two hosts"
alone "$work/alone" 6 > "$work/alone.log" 2>&1 || { tail -20 "$work/alone.log"; fail "one process"; }
train left nt-veth-l "$work/left" 6 29511 > "$work/left.log" 2>&1 &
left=$!
train right nt-veth-r "$work/right" 6 29511 > "$work/right.log" 2>&1 || { tail -20 "$work/right.log"; fail "the second host"; }
wait "$left" || { tail -20 "$work/left.log"; fail "the first host"; }
PYTHONPATH="$root" "$python" "$root/tests/cluster/two_hosts.py" compare "$work/alone" "$work/left" 1e-4
[ ! -e "$work/right/checkpoints" ] || fail "the second host wrote checkpoints"

say "2. a host dies"
train left nt-veth-l "$work/broken" 4000 29512 > "$work/broken.log" 2>&1 &
left=$!
train right nt-veth-r "$work/broken-right" 4000 29512 > "$work/broken-right.log" 2>&1 &
for _ in $(seq 120); do [ -f "$work/broken/state.pt" ] && break; sleep 1; done
[ -f "$work/broken/state.pt" ] || { tail -20 "$work/broken.log"; fail "no state was saved"; }
sleep 2
pkill -KILL -f "two_hosts.py train $work/stems $work/broken-right" || fail "nothing to kill"
if wait "$left"; then fail "the first host ended with status 0"; fi
grep -q "lost another" "$work/broken.log" || fail "the first host does not say that the other is gone"
grep -h "lost another" "$work/broken.log"

say "3. the run resumes on one host"
before=$("$python" "$root/tests/cluster/two_hosts.py" iteration "$work/broken")
alone "$work/broken" 4000 > "$work/resumed.log" 2>&1 &
resumed=$!
for _ in $(seq 60); do
  now=$("$python" "$root/tests/cluster/two_hosts.py" iteration "$work/broken")
  [ "$now" -gt "$before" ] && break
  kill -0 "$resumed" 2>/dev/null || { tail -20 "$work/resumed.log"; fail "it does not resume"; }
  sleep 1
done
[ "$now" -gt "$before" ] || fail "it does not get beyond iteration $before"
kill "$resumed"; wait "$resumed" || true
say "passed: resumed at iteration $before, reached $now"
