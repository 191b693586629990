#!/bin/sh
# Two jobs of Slurm on many machines, with a llamascape that was installed by
#   module load openmpi && cargo install --path . --features mpi
# Submit one with `sbatch slurm.sh slice` or `sbatch slurm.sh train`. Queued again, either goes on where it was.
# One process a machine (a GPU, with --gpus-per-node and as many tasks) shares the weights among its cores.
#SBATCH --nodes=4 --ntasks-per-node=1 --cpus-per-task=32 --exclusive
#SBATCH --time=04:00:00 --requeue --open-mode=append --signal=TERM@120
set -eu
module load openmpi
# Each process takes its share of the cores that it is given, and srun gives it those of --cpus-per-task.
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
# `srun --mpi=list` says which of pmix and pmi2 this cluster has.
start() { srun --mpi=pmix --kill-on-bad-exit=1 "$@"; }

case "$1" in
slice)
    start llamascape slice HuggingFaceTB/SmolLM2-135M --text "The capital of France is Paris" --grid 301x301 \
        --out "$HOME/slice.npz" --resume --quiet
    ;;
train)
    RUN=$HOME/runs/many
    if [ -e "$RUN/settings.json" ]; then set -- --resume "$RUN"; else set -- --run-dir "$RUN" --data book.txt; fi
    # The batch is that of all machines together.
    start llamascape train --headless --preset mini --batch-size 256 --steps 100000 --log-level warn "$@"
    ;;
esac
