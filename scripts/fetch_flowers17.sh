#!/usr/bin/env bash
# Oxford Flowers-17 for question 7.2: 1360 pictures of 17 flowers, as data/oxford-flowers17/{train,val,test}/<0..16>/image_XXXX.jpg.
#
#     bash scripts/fetch_flowers17.sh                 fetches 60 MB; run it again if it was interrupted
#     bash scripts/fetch_flowers17.sh --from DIR      no network: DIR holds 17flowers.tgz and datasplits.mat, or a finished oxford-flowers17/
#     bash scripts/fetch_flowers17.sh --data DIR      puts it into DIR instead of data/
#
# The pictures are split as in the course (the second split of datasplits.mat: 680/340/340) and checked: their number and that each can be decoded.
# Flags after these go to flowers_partition.py; FLOWERS_URL names a mirror.
set -eu
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/flowers.sh"
fetch_flowers 17 oxford-flowers17 17flowers.tgz datasplits.mat "$@"
