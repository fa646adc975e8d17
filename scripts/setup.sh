# Sourced by run_all.sh and test.sh: makes .venv once and installs into it what the caller names.
#
#     source scripts/setup.sh; install requirements.txt writeup/requirements.txt
#
# What was installed is remembered in .venv by a checksum of the requirement files, so a second call costs nothing.

top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$top/.venv/bin/python"

install() {
    local base="${PYTHON:-python3}" file files=() stamp
    stamp="$top/.venv/installed-$(cd "$top" && cat "$@" | cksum | cut -d' ' -f1)"
    if [ -x "$python" ] && [ -e "$stamp" ]; then return; fi
    if ! "$python" -m pip --version >/dev/null 2>&1; then           # none yet, or one whose making was interrupted
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "setup: Python 3.10 or newer is needed ($base is not; name another with PYTHON=...)" >&2; exit 2; }
        echo "setup: making $top/.venv"
        "$base" -m venv --clear "$top/.venv" || { echo "setup: no virtual environment could be made (Debian and Ubuntu: install python3-venv)" >&2; exit 2; }
    fi
    for file in "$@"; do files+=(-r "$top/$file"); done
    echo "setup: installing $* (once; a few minutes and some gigabytes, most of them torch)"
    "$python" -m pip install --quiet --disable-pip-version-check "${files[@]}" || { echo "setup: pip could not install $* (the reason is above); run this again to go on" >&2; exit 2; }
    touch "$stamp"
}
