#!/usr/bin/env bash
# Run the smoke study through a SLURM cluster of one node on this machine: tests/cluster/slurm.sh PYTHON
#
# Needs root, Debian's packages slurm-wlm and munge (installed here if they are missing) and Snakemake's SLURM plugin, which
# is installed into a temporary folder. It checks that
#   1. jobs run through SLURM's queue;
#   2. the study resumes after the submitting process is killed with SIGKILL;
#   3. a job that SLURM ends at its time limit is submitted again;
#   4. the study survives a node that goes down and comes back.
set -euo pipefail
python=$(realpath -s "${1:-.venv/bin/python}")
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /tmp/slurm-test.XXXXXX)
node=$(hostname -s)
# Jobs run on the processors that this script may use (taskset), but SLURM counts all: a corpus asks for two.
cpus=$(nproc --all)
[ "$cpus" -gt 1 ] || cpus=2
export SLURM_CONF=$work/slurm.conf
say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

[ "$(id -u)" = 0 ] || fail "SLURM's daemons need root. Run it in a container or on a machine of your own."
if ! command -v slurmctld munged >/dev/null; then
  apt-get update -qq && apt-get install -y -qq slurm-wlm munge >/dev/null
fi
"$python" -m pip install --quiet --target "$work/plugins" --no-deps \
  snakemake-executor-plugin-slurm==2.8.0 snakemake-executor-plugin-slurm-jobstep==0.6.1 throttler==1.2.3

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
ReturnToService=0
MinJobAge=36000
KillWait=5
UnkillableStepTimeout=600
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$(free -m | awk '/Mem:/ {print int($2 * 0.8)}') State=UNKNOWN
PartitionName=gpu Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
# Jobs start without SLURM_CONF and look in the usual place.
[ ! -e /etc/slurm/slurm.conf ] || fail "/etc/slurm/slurm.conf exists. Run this on a machine that is no cluster's."
mkdir -p /etc/slurm && ln -s "$SLURM_CONF" /etc/slurm/slurm.conf
stop() {
  pkill -KILL -f "snakemake.*$work" || true
  scancel --user=root || true
  for _ in $(seq 60); do squeue -h | grep -q . || break; sleep 1; done
  rm -f /etc/slurm/slurm.conf
  for daemon in slurmd slurmctld; do
    [ -f "$work/$daemon.pid" ] || continue
    pid=$(cat "$work/$daemon.pid")
    kill "$pid" 2>/dev/null || true
    # It writes its state until it ends, into the folder that is removed below.
    for _ in $(seq 60); do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
  done
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
for _ in $(seq 120); do sinfo -h -o %T | grep -q idle && break; sleep 1; done
sinfo -h -o %T | grep -q idle || fail "the node does not become idle: $(sinfo -R)"

study() {
  cd "$root"
  PYTHONPATH="$work/plugins:$root" OMP_NUM_THREADS=1 exec "$python" -m snakemake -s recipes/Snakefile \
    --profile recipes/profiles/slurm --slurm-no-account --slurm-status-command squeue \
    --slurm-init-seconds-before-status-checks 3 --seconds-between-status-checks 3 --latency-wait 10 --jobs 2 \
    --config size=smoke study="$work/study" python="$python"
}

state_of() { scontrol show job -o "$1" | grep -o "$2=[^ ]*" | cut -d= -f2; }
running() { squeue -h -t R -o %A | head -1; }

say "1. jobs run through the queue; 2. the submitting process is killed once the first model is pretrained"
( study ) > "$work/log/first.log" 2>&1 &
first=$!
seen=""
until compgen -G "$work/study/bodies/*.pth" >/dev/null; do
  [ "$seen" ] || seen=$(squeue -t R)
  [ "$(wc -l <<< "$seen")" -gt 1 ] || seen=""
  kill -0 "$first" 2>/dev/null || { tail -30 "$work/log/first.log"; fail "the study ended early"; }
  sleep 1
done
[ "$seen" ] || fail "no job appeared in squeue"
echo "$seen"
pkill -KILL -f "snakemake.*$work" || true
scancel --user=root
# A job stays in the queue until its processes have ended.
for _ in $(seq 300); do squeue -h | grep -q . || break; sleep 1; done
squeue -h | grep -q . && fail "cancelled jobs do not end: $(squeue -h)"
body=$(compgen -G "$work/study/bodies/*.pth" | head -1)
made=$(stat -c %Y "$body")

say "3. a job reaches its time limit; 4. the node goes down and comes back"
( study ) > "$work/log/second.log" 2>&1 &
second=$!
limited="" downed=""
while kill -0 "$second" 2>/dev/null; do
  if [ -z "$limited" ]; then
    # Stop a process that trains, so that its job lasts until the limit, which SLURM counts in minutes.
    training=$(pgrep -f "^[^ ]*python[^ ]* -m recipes\.(pretrain|finetune) .*$work" | head -1 || true)
    job=$([ "$training" ] && tr '\0' '\n' 2>/dev/null < "/proc/$training/environ" | sed -n 's/^SLURM_JOB_ID=//p' || true)
    if [ "$job" ]; then
      kill -STOP "$training" 2>/dev/null || continue  # it ended meanwhile
      scontrol update "jobid=$job" timelimit=1 || fail "job $job, $(state_of "$job" JobState), takes no time limit"
      while [[ $(state_of "$job" JobState) =~ RUNNING|COMPLETING ]]; do sleep 1; done
      limited=$job
      say "job $job, $(state_of "$job" Comment): $(state_of "$job" JobState)"
    fi
  elif [ -z "$downed" ] && [ "$(running)" ]; then
    downed=$(running)
    scontrol update "nodename=$node" state=down reason=test
    say "took the node down while job $downed ran: $(sinfo -h -o %T), job $(state_of "$downed" JobState)"
    sleep 3
    scontrol update "nodename=$node" state=resume
  fi
  sleep 1
done
wait "$second" || { tail -40 "$work/log/second.log"; fail "the study did not finish"; }
[ "$limited" ] && [ "$downed" ] || fail "no job reached its time limit, or the node was not taken down"
[ "$(state_of "$limited" JobState)" = TIMEOUT ] || fail "job $limited ended as $(state_of "$limited" JobState)"
grep -q "Trying to restart job" "$work/log/second.log" || fail "no job was submitted again"
[ "$(stat -c %Y "$body")" = "$made" ] || fail "a finished model was trained again"
[ -f "$work/study/report/index.html" ] || fail "there is no report"
for job in $limited $downed; do
  say "job $job and its successors: $(scontrol show job -o | grep -F "Comment=$(state_of "$job" Comment) " \
    | grep -oE '(JobId|JobState|Restarts)=[^ ]*' | tr '\n' ' ')"
done
say "passed: $(grep -c 'has been submitted with SLURM jobid' "$work/log/first.log" "$work/log/second.log" | tr '\n' ' ')"
