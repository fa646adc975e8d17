#!/usr/bin/env bash
# Runs the tests. Makes .venv first if there is none.
#
#     bash scripts/test.sh                  all tests, about five minutes
#     bash scripts/test.sh -k nn            what follows goes to pytest
set -eu
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
install requirements.txt writeup/requirements.txt python/tests/requirements.txt
cd "$top"
exec "$python" -m pytest -q "$@"
