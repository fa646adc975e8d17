#!/usr/bin/env bash
# Packs what is handed in: ANDREWID.zip with the code and saved results, ANDREWID.pdf with the writeup, both in the current folder.
#
#     bash scripts/package.sh ANDREWID
#     bash scripts/package.sh ANDREWID --out DIR        results and weights of runs made with --out DIR
#
# The zip holds the handout's files (nn.py, util.py, q4.py, run_q2.py ... run_q7.py), what they import, the weights and results/*.json; no data. It is unpacked
# elsewhere and run_q2.py run there before either file is put in place.
set -eu
here="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install requirements.txt writeup/requirements.txt
cd "$here"
exec "$python" "$top/scripts/package.py" "$@"
