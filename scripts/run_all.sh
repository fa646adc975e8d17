#!/usr/bin/env bash
# Runs every question, then builds the writeup and prints what came out. Makes .venv first if there is none.
#
#     bash scripts/run_all.sh                   everything, on the real data if it is in data/, else on the built-in handwriting
#     bash scripts/run_all.sh --quick           every step once, cheaply: two minutes; into writeup/quick, beside the real results
#     bash scripts/run_all.sh --data DIR --out DIR --seed N       flags of the questions are passed on to each of them
#
# A question that fails does not stop the others; the exit status is 1 then, and the table at the end says which. Ctrl-C stops everything.
set -eu
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

say() { echo "run_all.sh: $*" >&2; }

# A wrong flag would fail in every question: find it before the first.
flags=("$@") out='' quick=''
while [ $# -gt 0 ]; do case "$1" in
    --quick) quick=yes; shift;;
    --show) shift;;
    --data|--out|--seed)
        [ $# -gt 1 ] || { say "$1 needs a value"; exit 2; }
        if [ "$1" = --data ] && ! [ -d "$2" ]; then say "--data $2 is no folder"; exit 2; fi
        if [ "$1" = --out ]; then out="$2"; fi
        shift 2;;
    -h|--help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0;;
    *) say "unknown argument $1; see --help"; exit 2;;
esac; done
if [ -z "$out" ]; then out="$top/writeup${quick:+/quick}"; fi

install requirements.txt writeup/requirements.txt

failed='' outcome=()
for question in q2 q3 q4 q5 q6 q7_1 q7_2 theory; do        # run_q7.py would run two of them again
    script="$top/python/run_$question.py"
    [ -e "$script" ] || continue
    echo; echo "== $question"
    status=0 began=$SECONDS
    "$python" "$script" ${flags[@]+"${flags[@]}"} || status=$?
    [ $status != 130 ] || exit 130
    [ $status = 0 ] || { say "run_$question.py failed with status $status; going on"; failed="$failed $question"; }
    outcome+=("$question=$status=$((SECONDS - began))")
done

echo; echo "== writeup"
writeup=() status=0 began=$SECONDS
[ "$out" = "$top/writeup" ] || writeup=(--out "$out")
bash "$top/scripts/build_writeup.sh" ${writeup[@]+"${writeup[@]}"} || { status=$?; say "the writeup could not be built"; failed="$failed writeup"; }
outcome+=("writeup=$status=$((SECONDS - began))")

echo; echo "== what came out"
"$python" "$top/python/experiment.py" "$out/results" "${outcome[@]}"
if [ -n "$failed" ]; then say "failed:$failed"; exit 1; fi
