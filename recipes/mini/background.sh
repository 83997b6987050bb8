#!/usr/bin/env bash
# Starts or resumes the training of the embedded model in the background; it takes only the time that others leave.
#   recipes/mini/background.sh WORK [SETTINGS...]     e.g. recipes/mini/background.sh ~/mini --unet-minutes 2000
# WORK: a folder outside the repository; checkpoints and logs/train.log are in it. PYTHON: the interpreter to use.
set -euo pipefail
work=$(mkdir -p "$1/logs" && cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."
idle=(nice -n 19)
command -v ionice >/dev/null && idle+=(ionice -c 3)
command -v chrt >/dev/null && idle+=(chrt --idle 0)
nohup setsid "${idle[@]}" "${PYTHON:-.venv/bin/python}" -u -m recipes.mini.make --stage all --work "$work" "$@" \
    >>"$work/logs/train.log" 2>&1 </dev/null &
echo $! >"$work/logs/pid"
# A session of its own is a scheduling group of its own, in which niceness counts only within the group.
[ -w /proc/$!/autogroup ] && echo 19 >/proc/$!/autogroup
echo "process $!, log $work/logs/train.log"
