# Sourced by the scripts that fetch data.
#
#     download URL FILE
#
# Fetches URL to FILE, unless FILE is there already. Goes on with FILE.part where an earlier try broke off, renames only what came whole, and refuses a web page
# saved in place of the file (servers that have moved answer "301 Moved Permanently" in HTML, and old copies of these scripts kept that as their data).

download() {
    local url="$1" file="$2" status=0 resumed=''
    [ -s "$file" ] && return 0
    mkdir -p "$(dirname "$file")"
    echo "fetching $url"
    [ -s "$file.part" ] && resumed=1
    transfer "$url" "$file.part" || status=$?
    # 22 and 33 are curl's: the server cannot go on in the middle, or has nothing left to send; then once more from the beginning
    case $resumed-$status in 1-22|1-33) rm -f "$file.part"; status=0; transfer "$url" "$file.part" || status=$?;; esac
    [ -s "$file.part" ] || rm -f "$file.part"
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

# The course's scripts use wget; not every machine has it. Python, which the project needs anyway, does it too.
transfer() {
    if command -v wget >/dev/null; then
        wget --no-verbose --tries=3 --timeout=30 --continue --output-document="$2" "$1"
    elif command -v curl >/dev/null; then
        curl --fail --location --silent --show-error --retry 2 --connect-timeout 30 --speed-limit 1 --speed-time 60 --continue-at - --output "$2" "$1"
    else
        "${PYTHON:-python3}" -c '
import http.client, os, shutil, signal, sys, urllib.request
signal.signal(signal.SIGINT, signal.SIG_DFL)        # Ctrl-C ends this and the script, without a traceback
url, file = sys.argv[1:]
have = os.path.getsize(file) if os.path.exists(file) else 0
request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
try:
    with urllib.request.urlopen(request, timeout=30) as answer, open(file, "ab" if answer.status == 206 else "wb") as out:
        shutil.copyfileobj(answer, out)
        left = answer.length
    if left: raise OSError(f"the connection broke off {left} bytes early")
except (OSError, ValueError, http.client.HTTPException) as error:
    print(error, file=sys.stderr)
    sys.exit(22 if getattr(error, "code", 0) == 416 else 1)
' "$1" "$2"
    fi
}
