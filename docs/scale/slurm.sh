#!/bin/bash
# One worker on each node: sbatch slurm.sh my.yaml
#
# training.batch_size must be a multiple of the number of nodes. The directory must be one that all
# nodes see.
#SBATCH --job-name=llm-train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300

config=${1:?usage: sbatch slurm.sh CONFIG}
run=${2:-runs/$(basename "$config" .yaml)}
port=$((20000 + SLURM_JOB_ID % 10000))
workers=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed "s/$/:$port/" | paste -sd, -)
export LLM_TIMECYCLE_JOB=$SLURM_JOB_ID

# When a worker is lost, all of them start again from the newest checkpoint, three times.
for attempt in 0 1 2 3; do
  resume=
  if [ -e "$run/manifest.json" ]; then resume=--resume; fi
  srun --kill-on-bad-exit=1 bash -c 'exec llm-timecycle train "$@" --worker-index "$SLURM_PROCID"' \
    worker "$config" --run "$run" $resume --workers "$workers"
  code=$?
  case $code in
    # Done; usage, settings, text, run: another try ends in the same way; stopped, and saved.
    0 | 2 | 3 | 4 | 5 | 129 | 130 | 143) break ;;
  esac
done
exit $code
