#!/usr/bin/env bash
# Makes the autograder that Gradescope takes: upload autograder.zip under "Configure Autograder", with Python of the image's Ubuntu.
#
#     bash scripts/package_grader.sh                     autograder.zip, about 5 MB
#     bash scripts/package_grader.sh --data DIR          q3_weights.pickle is validated on the NIST36 in DIR (default: as all scripts: $NN_DATA, data/, built-in)
#     bash scripts/package_grader.sh -o FILE             another name
#     bash scripts/package_grader.sh --kit FILE          pages and characters made before by grade.py --write-kit
#     bash scripts/package_grader.sh --points FILE       points that differ from the handout, as for grade.py
#
# The zip holds setup.sh, run_autograder, the grader, and the pages and characters that it asks with; no solution of the homework.
set -eu
top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out=autograder.zip kit='' points='' data=()
fail() { echo "package_grader: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case "$1" in
        -h|--help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        -o|--kit|--points|--data) [ $# -gt 1 ] || fail "$1 needs a value" ;;&
        -o) out="$2" ;;
        --kit) kit="$2"; [ -f "$kit" ] || fail "$kit is missing" ;;
        --points) points="$2"; [ -f "$points" ] || fail "$points is missing" ;;
        --data) data=(--data "$2") ;;
        *) fail "unknown argument $1 (--help says what there is)" ;;
    esac
    shift 2
done
if [ -z "${PYTHON:-}" ]; then
    source "$top/scripts/setup.sh"
    install requirements.txt
    PYTHON="$python"
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ -n "$kit" ]; then cp "$kit" "$work/kit.npz"; else "$PYTHON" "$top/python/grade.py" --write-kit "$work/kit.npz" "${data[@]}"; fi
if [ -n "$points" ]; then cp "$points" "$work/points.json"; else echo '{}' > "$work/points.json"; fi
cp "$top"/python/{grade,grade_checks,grade_scripts,grade_sandbox,experiment,datasets,util}.py "$work"
grep -v '^torch' "$top/requirements.txt" > "$work/requirements.txt"

cat > "$work/setup.sh" <<'END'
#!/usr/bin/env bash
# Run once by Gradescope when the image is built.
set -eu
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
apt-get update
apt-get install -y python3 python3-venv
python3 -m venv "$here/.venv"
"$here/.venv/bin/python" -m pip install -r "$here/requirements.txt"
"$here/.venv/bin/python" -c 'import matplotlib.pyplot'     # makes its list of fonts now
END

cat > "$work/run_autograder" <<'END'
#!/usr/bin/env bash
# Run by Gradescope for every submission: submission/ -> results/results.json.
root="${AUTOGRADER:-/autograder}"
python="${PYTHON:-$root/source/.venv/bin/python}"
rm -f "$root/results/results.json"
said="$("$python" "$root/source/grade.py" "$root/submission" --gradescope --out "$root/results" \
        --kit "$root/source/kit.npz" --points "$root/source/points.json" 2>&1)"
echo "$said"
if ! [ -e "$root/results/results.json" ]; then      # nothing to grade: say so where the student sees it
    SAID="$said" "$python" -c 'import json, os; print(json.dumps({"score": 0, "output": os.environ["SAID"][-2000:]}))' > "$root/results/results.json"
fi
END
chmod +x "$work/setup.sh" "$work/run_autograder"

(cd "$work" && "$PYTHON" -m zipfile -c autograder.zip setup.sh run_autograder requirements.txt kit.npz points.json ./*.py)
mkdir -p "$(dirname "$out")"
mv "$work/autograder.zip" "$out.part" && mv "$out.part" "$out"
echo "package_grader: $out, $(du -h "$out" | cut -f1)"
