#!/usr/bin/env bash
# Sets writeup/writeup.pdf from writeup/writeup.typ and whatever results and figures the runs have left. A second; makes .venv first if there is none.
#
#     bash scripts/build_writeup.sh                             reads writeup/results and writeup/figures
#     bash scripts/build_writeup.sh --out DIR                   of runs made with --out DIR; the PDF goes there too
#     bash scripts/build_writeup.sh --author "Ann Example (aexample)"
set -eu
here="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install writeup/requirements.txt
cd "$here"
exec "$python" "$top/scripts/build_writeup.py" "$@"
