#!/usr/bin/env bash
# Oxford Flowers-102 for question 7.2 (run_q7_2.py --flowers 102): 8189 pictures of 102 flowers, twice under different names but once on the disk:
# data/flowers-102/ as torchvision.datasets.Flowers102 wants it, data/oxford-flowers102/{train,val,test}/<0..101>/image_XXXXX.jpg as the course has it.
#
#     bash scripts/fetch_flowers102.sh                fetches 345 MB; run it again if it was interrupted
#     bash scripts/fetch_flowers102.sh --from DIR     no network: DIR holds 102flowers.tgz, imagelabels.mat and setid.mat
#     bash scripts/fetch_flowers102.sh --data DIR     puts it into DIR instead of data/
#
# The split is the authors' (setid.mat: 1020/1020/6149); the pictures are checked: their number and that each can be decoded.
# Flags after these go to flowers_partition.py; FLOWERS_URL names a mirror.
set -eu
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/flowers.sh"
fetch_flowers 102 oxford-flowers102 102flowers.tgz imagelabels.mat setid.mat "$@"
