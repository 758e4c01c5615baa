#!/usr/bin/env bash
# Runs the benchmarks whose results the README and the documentation contain.
#
#     bash benchmarks/all.sh [FOLDER [NAME ...]]
#
# The reports are written to FOLDER, by default benchmarks/results. Each report starts with
# the command, the date, the versions and the processor. Names select some of the
# benchmarks. A benchmark that has a report is skipped, so that an interrupted command
# continues where it stopped. Delete a report to repeat the benchmark. The file times.txt
# contains the time and the exit status of each benchmark; a status other than 0 indicates
# an error or a target that was missed.
set -uo pipefail
mkdir -p "${1:-$(dirname "$0")/results}"
folder=$(cd "${1:-$(dirname "$0")/results}" && pwd)
cd "$(dirname "$0")/.." || exit 1
shift $(($# > 0))
selected=" $* "
python=${PYTHON:-python}
failed=()

# run NAME MINUTES COMMAND...: MINUTES is the approximate time on two cores.
run() {
    local name=$1 minutes=$2 report=$folder/$1.txt start=$SECONDS status
    shift 2
    [[ $selected = "  " || $selected = *" $name "* ]] || return 0
    if [ -e "$report" ]; then
        echo "== $name: skipped, because $report exists"
        return 0
    fi
    echo "== $name: about $minutes min"
    {
        [[ $2 = -m && $3 = benchmarks.* ]] || "$python" -m benchmarks._tools.printing "$@"
        "$@"
    } 2> "$folder/$name.log" | tee "$report.part"
    status=${PIPESTATUS[0]}
    if [ "$status" -ge 128 ]; then  # a signal: repeat the benchmark next time
        echo "== $name: interrupted"
        exit "$status"
    fi
    mv "$report.part" "$report"
    printf '%-20s %6d s  exit status %d\n' "$name" $((SECONDS - start)) "$status" \
        | tee -a "$folder/times.txt"
    if [ "$status" != 0 ]; then
        failed+=("$name")
        tail -n 5 "$folder/$name.log"
    fi
}

bench() { run "$1" "$2" "$python" -m "benchmarks.$3" "${@:4}"; }

run two_moons 1 "$python" -m sksngp --data two-moons --picture "$folder/two-moons.png"
run digits 2 "$python" examples/flag_unknown_digits.py --output "$folder/digits.png"
bench speed 30 speed --json "$folder/speed.json" --picture "$folder/speed.png"
bench scaling 15 scaling --json "$folder/scaling.json" --picture "$folder/scaling.png"
bench scaling_workers 2 scaling_workers
bench architectures 10 architectures
bench large_data 20 large_data
bench service_load 1 service_load
bench tutorial_results 5 tutorial_results
bench accuracy 10 accuracy
bench tables 90 tables --seeds 3 --max-rows 500 --results "$folder/tables.jsonl"
bench larger_tables 60 tables --seeds 1 --results "$folder/tables.jsonl"
bench quality 240 quality --csv "$folder/quality.csv" --picture "$folder/quality.png"
bench exact_gp 5 exact_gp
bench alternatives 10 alternatives
bench images 90 images
bench false_alarms 15 false_alarms --splits 30
bench confidence 5 false_alarms --confidence 0.9
bench explanations 15 explanations
bench baselines 15 explanations --one-network --shap 10 --baselines
bench drift 5 drift
bench streams 15 streams
bench exports 20 exports

if [ ${#failed[@]} -gt 0 ]; then
    echo "Exit status other than 0: ${failed[*]}"
    exit 1
fi
