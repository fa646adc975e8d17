# Sourced by run_all.sh and test.sh: makes .venv once and installs into it what the caller names.
#
#     source scripts/setup.sh; install requirements.txt writeup/requirements.txt
#
# What was installed is remembered in .venv by a checksum of each requirement file, so a second call costs nothing.

top="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$top/.venv/bin/python"

installed() { echo "$top/.venv/installed-$(cksum < "$top/$1" | cut -d' ' -f1)"; }      # the file that remembers it

install() {
    local base="${PYTHON:-python3}" file todo=() flags=()
    for file in "$@"; do
        if ! [ -x "$python" ] || ! [ -e "$(installed "$file")" ]; then todo+=("$file"); flags+=(-r "$top/$file"); fi
    done
    [ ${#todo[@]} != 0 ] || return 0
    if ! "$python" -m pip --version >/dev/null 2>&1; then           # none yet, or one whose making was interrupted
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "setup: Python 3.10 or newer is needed ($base is not; name another with PYTHON=...)" >&2; exit 2; }
        echo "setup: making $top/.venv"
        "$base" -m venv --clear "$top/.venv" || { echo "setup: no virtual environment could be made (Debian and Ubuntu: install python3-venv)" >&2; exit 2; }
    fi
    echo "setup: installing ${todo[*]}, once (the first time a few minutes and some gigabytes, most of them torch)"
    "$python" -m pip install --quiet --disable-pip-version-check "${flags[@]}" || { echo "setup: pip could not install ${todo[*]} (the reason is above); run this again to go on" >&2; exit 2; }
    for file in "${todo[@]}"; do touch "$(installed "$file")"; done
}
