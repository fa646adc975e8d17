#!/usr/bin/env bash
# The course's data: nist36_{train,valid,test}.mat into data/, the four photos into images/.
#
#     bash scripts/get_data.sh                  fetches data.zip and images.zip (35 MB) from the course's server; run it again if it was interrupted
#     bash scripts/get_data.sh --from DIR       no network: copies what lies in DIR/data and DIR/images (or takes the two zip files from DIR)
#     bash scripts/get_data.sh --data DIR       puts the data into DIR instead of data/
#
# What is there already is left alone. A download must be the course's files to the byte (git's fingerprints, below) and is put in place only when it is.
# --from takes other builds of the same data too, says so, brings along MNIST/, EMNIST/, flowers and squeezenet1_1*.pth where DIR has them, and never writes to DIR.
# NN_DATA_URL names a mirror that holds the two zip files.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"           # sh get_data.sh
set -eu
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/setup.sh"
source "$here/download.sh"

url="${NN_DATA_URL:-http://www.cs.cmu.edu/~lkeselma/16720a_data}"
characters='nist36_train.mat nist36_valid.mat nist36_test.mat'
pictures='01_list.jpg 02_letters.jpg 03_haiku.jpg 04_deep.jpg'

fingerprint_of_the_course() {       # what `git hash-object` prints for the course's file of this name
    case "$1" in
        nist36_train.mat) echo c46ac54a65e595cd35bf5ac2cc908f590b8d584d;;
        nist36_valid.mat) echo eedbc65be5c3efcdd6f030d0bf5b5bce60d5516a;;
        nist36_test.mat)  echo d90541c85b97243f0d12d8dbd51a65de33965f1f;;
        01_list.jpg)      echo 634b15954e1e398c5a16effc3755fcc7d1b9fa69;;
        02_letters.jpg)   echo b3d8fe2b91e0c2a8276077c75f39b4732685c369;;
        03_haiku.jpg)     echo 1cc27f59908c1b37b4648ba99065c256720c2076;;
        04_deep.jpg)      echo 5276e16f0d662ea2ee07a568edc8a61ad4e55bce;;
    esac
}

fingerprint() {         # the same for any file, without git: SHA-1 of "blob", its length, a zero byte and its contents
    local sum=sha1sum
    command -v sha1sum >/dev/null || sum='shasum -a 1'
    { printf 'blob %d\0' "$(wc -c < "$1")"; cat "$1"; } | $sum | cut -d' ' -f1
}

is_the_courses() { [ "$(fingerprint "$1")" = "$(fingerprint_of_the_course "$(basename "$1")")" ]; }

say() { echo "$(basename "$0"): $*" >&2; }

missing_in() {          # missing_in FOLDER NAME...: those names that FOLDER does not hold
    local folder="$1" name; shift
    for name in "$@"; do [ -e "$folder/$name" ] || echo "$name"; done
}

origin() {              # one line on what FOLDER holds: origin FOLDER NAME...
    local folder="$1" name what="the course's files"; shift
    for name in "$@"; do is_the_courses "$folder/$name" || what="not the course's files (another build)"; done
    echo "$folder: $* - $what"
}

unzip_into() {          # unzip_into ZIP FOLDER
    if command -v unzip >/dev/null; then unzip -q -o "$1" -d "$2"; return; fi
    [ -x "$python" ] || python="${PYTHON:-python3}"
    "$python" -c 'import sys, zipfile
try: zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])
except (zipfile.BadZipFile, EOFError, OSError) as error: sys.exit(str(error))' "$1" "$2"
}

# ---------------------------------------------------------------- from a zip file

# unpack ZIP FOLDER NAME...: puts those files of ZIP, wherever in it they are, into FOLDER if all of them are the course's. Leaves ZIP as it is.
unpack() {
    local zip="$1" folder="$2" staged="$2/unpacking.part" name found; shift 2
    rm -rf "$staged"; mkdir -p "$staged"
    if ! unzip_into "$zip" "$staged" 2>"$staged.log"; then
        say "$zip is not a whole zip file ($(grep -v '^ *$' "$staged.log" | head -n 1 | sed 's/^ *//'))"
        rm -rf "$staged" "$staged.log"; return 2
    fi
    rm -f "$staged.log"
    for name in "$@"; do
        found="$(find "$staged" -type f -name "$name" | head -n 1)"
        if [ -z "$found" ]; then say "$zip holds no $name"; rm -rf "$staged"; return 2; fi
        if ! is_the_courses "$found"; then
            say "$zip: $name is not the course's file (git fingerprint $(fingerprint "$found"), not $(fingerprint_of_the_course "$name"))"; rm -rf "$staged"; return 2
        fi
    done
    for name in "$@"; do
        [ -e "$folder/$name" ] || mv "$(find "$staged" -type f -name "$name" | head -n 1)" "$folder/$name"
    done
    rm -rf "$staged"
    origin "$folder" "$@"
}

# fetch ZIP FOLDER NAME...: downloads and unpacks, unless all those files are in FOLDER.
fetch() {
    local zip="$1" folder="$2"; shift 2
    if [ -z "$(missing_in "$folder" "$@")" ]; then echo "already there: $(origin "$folder" "$@")"; return; fi
    mkdir -p "$folder"
    download "$url/$zip" "$folder/$zip" || return 2
    if ! unpack "$folder/$zip" "$folder" "$@"; then
        rm -f "$folder/$zip"
        say "$url/$zip was removed again and nothing of it used"; return 2
    fi
    rm -f "$folder/$zip"
}

# ---------------------------------------------------------------- from a folder

# copy SOURCE TARGET: a file or folder, links followed, beside its place and then renamed; a TARGET that is there is left alone.
copy() {
    found=$((found + 1))
    [ ! -e "$2" ] || return 0
    mkdir -p "$(dirname "$2")"
    rm -rf "$2.part"
    if ! cp -RL "$1" "$2.part"; then rm -rf "$2.part"; say "$1 could not be copied"; return 2; fi
    chmod -R u+w "$2.part"       # the source may be read-only
    mv "$2.part" "$2"
    brought=$((brought + 1))
}

# The three files of NIST36, all or none, in whichever of these folders they are.
copy_characters() {
    local folder="$from" name missing
    if [ -d "$from/data" ]; then folder="$from/data"; fi
    missing="$(missing_in "$folder" $characters)"
    if [ "$(echo $missing)" = "$characters" ]; then return 0; fi
    if [ -n "$missing" ]; then say "$folder has no" $missing "beside the other files of NIST36; it needs all three"; return 2; fi
    for name in $characters; do
        if [ "$(head -c 6 "$folder/$name" | tr -d '\0')" != MATLAB ]; then say "$folder/$name is not a .mat file"; return 2; fi
    done
    for name in $characters; do copy "$folder/$name" "$data/$name" || return 2; done
    origin "$data" $characters
}

# Everything else that the questions use: MNIST and EMNIST file by file, as a part of them may be in data/ already, the flowers by folder, pictures.
copy_others() {
    local folder="$from" pattern source
    if [ -d "$from/data" ]; then folder="$from/data"; fi
    for pattern in MNIST/raw/*-ubyte EMNIST/raw/*-ubyte EMNIST/raw/*mapping.txt oxford-flowers17 flowers-102 oxford-flowers102 'squeezenet1_1*.pth'; do
        for source in "$folder"/$pattern; do
            [ ! -e "$source" ] || copy "$source" "$data/${source#"$folder"/}" || return 2
        done
    done
    folder="$from"
    if [ -d "$from/images" ]; then folder="$from/images"; fi
    for source in "$folder"/*.jpg "$folder"/*.jpeg "$folder"/*.png; do
        [ ! -f "$source" ] || copy "$source" "$top/images/$(basename "$source")" || return 2
    done
}

bring() {
    local failed=0 found=0 brought=0
    # a browser may have saved the two zip files
    if [ -f "$from/data.zip" ] && [ -n "$(missing_in "$data" $characters)" ]; then found=1; unpack "$from/data.zip" "$data" $characters || failed=2
    else copy_characters || failed=2; fi
    if [ -f "$from/images.zip" ] && [ -n "$(missing_in "$top/images" $pictures)" ]; then found=1; unpack "$from/images.zip" "$top/images" $pictures || failed=2; fi
    copy_others || failed=2
    if [ $found$failed = 00 ]; then say "$from holds nothing of the course's: no data/nist36_*.mat, no images/*.jpg, no data.zip or images.zip"; return 2; fi
    echo "$brought files and folders copied from $from; what was there already was left alone"
    return $failed
}

# ----------------------------------------------------------------

data="$top/data" from=''
while [ $# -gt 0 ]; do case "$1" in
    --from|--data)
        [ $# -gt 1 ] && [ -d "$2" ] || { say "$1 needs a folder that exists, not '${2:-}'"; exit 2; }
        if [ "$1" = --from ]; then from="$(cd "$2" && pwd)"; else data="$(cd "$2" && pwd)"; fi; shift;;
    -h|--help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"; exit 0;;
    *) say "unknown argument $1; see --help"; exit 2;;
esac; shift; done
mkdir -p "$data" "$top/images"

if [ -n "$from" ]; then bring; exit; fi

failed=0
fetch data.zip "$data" $characters || failed=2
fetch images.zip "$top/images" $pictures || failed=2
if [ $failed != 0 ]; then
    say "not everything could be got from $url. What to do:
    - run this again: it goes on where it broke off
    - someone has a copy: bash scripts/get_data.sh --from DIR   (DIR/data/nist36_*.mat and DIR/images/*.jpg, or DIR/data.zip and DIR/images.zip)
    - the server is gone: .venv/bin/python scripts/rebuild_nist36.py   makes the three files anew from EMNIST
    - nothing: every question runs on the built-in handwriting and the sample pages"
fi
exit $failed
