#!/usr/bin/env bash
# Run the smoke study through a SLURM cluster of one node on this machine: tests/cluster/slurm.sh PYTHON
#
# Needs root, Debian's packages slurm-wlm and munge (installed here if they are missing) and Snakemake's SLURM plugin, which
# is installed into a temporary folder. It checks that
#   1. jobs run through SLURM's queue;
#   2. the study resumes after the submitting process is killed with SIGKILL;
#   3. a job that SLURM ends is submitted again;
#   4. the study survives a node that goes down and comes back.
set -euo pipefail
python=$(realpath -s "${1:-.venv/bin/python}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /tmp/slurm-test.XXXXXX)
node=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

[ "$(id -u)" = 0 ] || fail "SLURM's daemons need root. Run it in a container or on a machine of your own."
if ! command -v slurmctld munged >/dev/null; then
  apt-get update -qq && apt-get install -y -qq slurm-wlm munge >/dev/null
fi
"$python" -m pip install --quiet --target "$work/plugins" --no-deps \
  snakemake-executor-plugin-slurm snakemake-executor-plugin-slurm-jobstep throttler

mkdir -p "$work"/{state,spool,log}
cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld.log
SlurmdLogFile=$work/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
MinJobAge=3600
KillWait=5
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/Mem:/ {print int($2 * 0.8)}') State=UNKNOWN
PartitionName=gpu Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
# Jobs start without SLURM_CONF and look in the usual place.
[ ! -e /etc/slurm/slurm.conf ] || fail "/etc/slurm/slurm.conf exists. Run this on a machine that is no cluster's."
mkdir -p /etc/slurm && ln -s "$SLURM_CONF" /etc/slurm/slurm.conf
stop() {
  rm -f /etc/slurm/slurm.conf
  pkill -KILL -f "snakemake.*$work" || true
  for daemon in slurmd slurmctld; do [ -f "$work/$daemon.pid" ] && kill "$(cat "$work/$daemon.pid")" || true; done
  if [ "${KEEP:-}" ]; then say "kept $work"; else rm -rf "$work"; fi
}
trap stop EXIT
if ! munge -n >/dev/null 2>&1; then
  install -d -o munge -g munge /run/munge
  su munge -s /bin/sh -c munged
  sleep 1
fi
munge -n | unmunge >/dev/null || fail "munge does not answer"
slurmctld
slurmd
for _ in $(seq 20); do sinfo -h -o %T | grep -q idle && break; sleep 1; done
sinfo -h -o %T | grep -q idle || fail "the node does not become idle: $(sinfo -R)"

study() {
  cd "$root"
  PYTHONPATH="$work/plugins:$root" OMP_NUM_THREADS=1 exec "$python" -m snakemake -s recipes/Snakefile \
    --profile recipes/profiles/slurm --slurm-no-account --slurm-status-command squeue \
    --slurm-init-seconds-before-status-checks 3 --latency-wait 10 --jobs 2 \
    --config size=smoke study="$work/study" python="$python"
}

say "1. jobs run through the queue; 2. the submitting process is killed once the first model is pretrained"
( study ) > "$work/log/first.log" 2>&1 &
first=$!
seen=""
for _ in $(seq 600); do
  [ -n "$(squeue -h)" ] && seen=yes
  compgen -G "$work/study/bodies/*.pth" >/dev/null && break
  kill -0 "$first" 2>/dev/null || { tail -30 "$work/log/first.log"; fail "the study ended early"; }
  sleep 1
done
[ "$seen" ] || fail "no job appeared in squeue"
squeue
pkill -KILL -f "snakemake.*$work" || true
scancel --user=root
body=$(compgen -G "$work/study/bodies/*.pth" | head -1)
made=$(stat -c %Y "$body")

say "3. a job is ended by SLURM; 4. the node goes down and comes back"
( study ) > "$work/log/second.log" 2>&1 &
second=$!
ended="" downed=""
for _ in $(seq 900); do
  kill -0 "$second" 2>/dev/null || break
  running=$(squeue -h -t R -o %A | head -1)
  if [ -n "$running" ] && [ -z "$ended" ]; then
    scancel --signal=TERM "$running"; sleep 2; scancel "$running"; ended=$running; say "ended job $running"
  elif [ -n "$running" ] && [ "$running" != "$ended" ] && [ -z "$downed" ]; then
    scontrol update "nodename=$node" state=down reason=test; sleep 3; scontrol update "nodename=$node" state=resume
    downed=yes; say "took the node down while job $running ran, and back"
  fi
  sleep 1
done
wait "$second" || { tail -40 "$work/log/second.log"; fail "the study did not finish"; }
[ "$ended" ] && [ "$downed" ] || fail "no job could be ended, or the node not taken down"
[ "$(stat -c %Y "$body")" = "$made" ] || fail "a finished model was trained again"
[ -f "$work/study/report/index.html" ] || fail "there is no report"
say "passed: $(grep -c 'has been submitted with SLURM jobid' "$work/log/first.log" "$work/log/second.log" | tr '\n' ' ')"
