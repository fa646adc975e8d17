# Sourced by the scripts that fetch data.
#
#     download URL FILE
#
# Fetches URL to FILE, unless FILE is there already. Goes on with FILE.part where an earlier try broke off, renames only what came whole, and refuses a web page
# saved in place of the file (servers that have moved answer "301 Moved Permanently" in HTML, and old copies of these scripts kept that as their data).

download() {
    local url="$1" file="$2" status=0
    [ -s "$file" ] && return 0
    mkdir -p "$(dirname "$file")"
    echo "fetching $url"
    transfer "$url" "$file.part" || status=$?
    # 22, 33, 8: the server cannot go on in the middle, or there is nothing left to send; then once more from the beginning
    if [ -e "$file.part" ]; then
        case $status in 22|33|8) rm -f "$file.part"; status=0; transfer "$url" "$file.part" || status=$?;; esac
    fi
    if [ $status != 0 ] || ! [ -s "$file.part" ]; then
        echo "$(basename "$0"): $url cannot be fetched (the reason is above); run this again to go on, or fetch it by hand and give its folder with --from DIR" >&2
        return 2
    fi
    if head -c 1000 "$file.part" | LC_ALL=C grep -aqi '<html\|<!doctype'; then
        rm -f "$file.part"
        echo "$(basename "$0"): $url answered with a web page instead of the file; fetch it by hand and give its folder with --from DIR" >&2
        return 2
    fi
    mv "$file.part" "$file"
}

transfer() {
    if command -v curl >/dev/null; then
        curl --fail --location --silent --show-error --retry 2 --continue-at - --output "$2" "$1"
    elif command -v wget >/dev/null; then
        wget --no-verbose --continue --output-document="$2" "$1"
    else
        echo "neither curl nor wget is installed" >&2; return 2
    fi
}
