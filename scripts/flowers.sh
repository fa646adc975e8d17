# Sourced by fetch_flowers17.sh and fetch_flowers102.sh:  fetch_flowers NUMBER RESULT ARCHIVE MAT... [their arguments]
source "$here/setup.sh"
source "$here/download.sh"

fetch_flowers() {
    local number="$1" result="$2" archive="$3" data="$top/data" from='' name; shift 3
    local files=("$archive") extra=()
    while [ $# -gt 0 ]; do case "$1" in
        *.mat) files+=("$1");;
        --from|--data)
            [ $# -gt 1 ] && [ -d "$2" ] || { echo "$(basename "$0"): $1 needs a folder that exists, not '${2:-}'" >&2; exit 2; }
            if [ "$1" = --from ]; then from="$(cd "$2" && pwd)"; else data="$(cd "$2" && pwd)"; fi; shift;;
        -h|--help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0;;
        --expect)
            [ $# -gt 1 ] || { echo "$(basename "$0"): --expect needs three numbers of pictures, with commas between them" >&2; exit 2; }
            extra=("$1" "$2"); shift;;
        *) echo "$(basename "$0"): unknown argument $1; see --help" >&2; exit 2;;
    esac; shift; done
    if [ -n "${PYTHON:-}" ] && ready "$PYTHON"; then python="$PYTHON"; elif ! ready "$python"; then install requirements.txt; fi
    mkdir -p "$data"
    local raw="$data/flowers-$number"            # torchvision's name for the 102
    if [ -d "$data/$result" ]; then
        sort_flowers "$data/$result"
    elif [ -n "$from" ] && [ -d "$from/$result" ]; then
        sort_flowers "$from/$result" "$data/$result"
    else
        for name in "${files[@]}"; do collect "$name" "$raw/$name"; done
        unpack "$raw/$archive" "$raw"
        sort_flowers "$raw" "$data/$result"
    fi
}

ready() { "$1" -c 'import numpy, scipy, PIL' 2>/dev/null; }

# A file from --from if that was given, from the network otherwise.
collect() {
    [ -s "$2" ] && return 0
    if [ -z "$from" ]; then download "${FLOWERS_URL:-https://www.robots.ox.ac.uk/~vgg/data/flowers}/$number/$1" "$2"; return; fi
    [ -s "$from/$1" ] || { echo "$(basename "$0"): $from has neither $1 nor $result/; --from wants the folder with ${files[*]}" >&2; exit 2; }
    mkdir -p "$raw"
    cp "$from/$1" "$2.part" && mv "$2.part" "$2"
}

# The archive's jpg/, all of it or nothing.
unpack() {
    [ -d "$2/jpg" ] && return 0
    rm -rf "$2/unpacking"; mkdir "$2/unpacking"
    if ! tar -xzf "$1" -C "$2/unpacking" || ! [ -d "$2/unpacking/jpg" ]; then
        rm -rf "$2/unpacking" "$1"
        echo "$(basename "$0"): $1 is not the archive of pictures, or broken; it was removed, run this again" >&2; exit 2
    fi
    mv "$2/unpacking/jpg" "$2/jpg"; rm -rf "$2/unpacking"
}

sort_flowers() {
    "$python" "$here/flowers_partition.py" "$number" "$@" ${extra[@]+"${extra[@]}"}
}
