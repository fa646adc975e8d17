"""Sort the pictures of Oxford Flowers into train/, val/ and test/ with a folder per class, as torchvision's ImageFolder reads them, and check them.

    python scripts/flowers_partition.py 17 data/flowers-17 data/oxford-flowers17         from jpg/ and datasplits.mat
    python scripts/flowers_partition.py 102 data/flowers-102 data/oxford-flowers102      from jpg/, imagelabels.mat and setid.mat
    python scripts/flowers_partition.py 17 data/oxford-flowers17                         only checks; with a third folder, copies what it has checked

Flowers-17 comes as image_0001.jpg to image_1360.jpg, 80 of a kind in a row, so picture i has the label (i - 1) // 80; datasplits.mat holds three splits and the
course takes the second: trn2, val2, tst2 (680/340/340). For Flowers-102 the labels are in imagelabels.mat and the split in setid.mat (1020/1020/6149).
Every picture is decoded once. A wrong number, a picture that cannot be decoded or a .mat that is really a saved web page ends it with a line and status 2, and
nothing is written: the result is built beside its place and renamed. Pictures are linked rather than copied where the disk allows it.
"""
import argparse, os, shutil, sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'python'))
from experiment import UserError, script       # noqa: E402

SPLITS = 'train', 'val', 'test'
SETS = {  # classes: (where the split is, its three names, number of pictures in each, name of a picture)
    17: ('datasplits.mat', ('trn2', 'val2', 'tst2'), (680, 340, 340), 'image_{:04d}.jpg'),
    102: ('setid.mat', ('trnid', 'valid', 'tstid'), (1020, 1020, 6149), 'image_{:05d}.jpg'),
}


def read_mat(path, *names):
    """The named vectors of a .mat file, as flat integer arrays."""
    import scipy.io
    if not path.is_file():
        raise UserError(f'{path} is missing')
    begin = path.read_bytes()[:200].decode('latin1')
    if '<' in begin[:20] or 'Moved Permanently' in begin:
        raise UserError(f'{path} is a saved web page ({" ".join(begin.split())[:60]} ...), not a .mat file; delete it and fetch it again')
    try:
        content = scipy.io.loadmat(path)
        return [np.asarray(content[name]).astype(int).ravel() for name in names]
    except Exception as error:      # scipy raises many kinds for a broken file
        raise UserError(f'{path} cannot be read as the .mat file with {", ".join(names)} ({type(error).__name__}: {error}); delete and refetch it') from None


def unsorted_pictures(folder, classes):
    """What jpg/ and the .mat files of folder say: a list of (picture, split, label), with labels from 0."""
    file, names, _, picture = SETS[classes]
    parts = read_mat(folder / file, *names)
    numbers = np.concatenate(parts)
    total = len(numbers)
    if sorted(numbers) != list(range(1, total + 1)):
        raise UserError(f'{folder / file}: {", ".join(names)} do not share out the pictures 1 to {total}, each once; delete it and fetch it again')
    labels = np.arange(total) // (total // classes) if classes == 17 else read_mat(folder / 'imagelabels.mat', 'labels')[0] - 1
    if len(labels) != total or set(labels) != set(range(classes)):
        raise UserError(f'{folder}: {len(labels)} labels of {len(set(labels))} classes for {total} pictures, instead of {classes} classes')
    return [(folder / 'jpg' / picture.format(i), split, labels[i - 1]) for split, part in zip(SPLITS, parts) for i in part]


def sorted_pictures(folder, classes):
    """What a finished folder with train/, val/ and test/ holds, as a list of (picture, split, label)."""
    wanted = {str(label) for label in range(classes)}
    for split in SPLITS:
        found = {f.name for f in (folder / split).iterdir() if f.is_dir()} if (folder / split).is_dir() else set()
        if found != wanted:
            raise UserError(f'{folder / split}: folders 0 to {classes - 1} expected, {len(found)} found; delete {folder} and fetch it again')
    return [(f, split, int(label)) for split in SPLITS for label in sorted(wanted, key=int) for f in sorted((folder / split / label).iterdir())]


def check(pictures, expected):
    """Raise UserError unless there are `expected` pictures in train, val and test and every one can be decoded."""
    from PIL import Image
    counts = tuple(sum(split == name for _, split, _ in pictures) for name in SPLITS)
    folder = pictures[0][0].parent if pictures else '?'
    if counts != expected:
        raise UserError(f'{folder}: {counts[0]}/{counts[1]}/{counts[2]} pictures to train, validate and test, instead of {"/".join(map(str, expected))}')
    for file, _, _ in pictures:
        try:
            with Image.open(file) as picture:
                picture.convert('RGB')
        except FileNotFoundError:
            raise UserError(f'{file} is missing; delete the folder that holds it and run the fetching script again') from None
        except Exception as error:      # PIL raises many kinds for a broken file
            raise UserError(f'{file} cannot be decoded ({type(error).__name__}: {error}); delete its folder and run the fetching script again') from None


def write(pictures, target):
    """Put the pictures into target/<split>/<label>/: beside it first, then renamed."""
    beside = target.with_name(f'{target.name}.{os.getpid()}.part')
    try:
        for file, split, label in pictures:
            place = beside / split / str(label)
            place.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, place / file.name)
            except OSError:
                shutil.copyfile(file, place / file.name)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('classes', type=int, choices=SETS, help='17 or 102: which of the two sets')
    parser.add_argument('folder', type=Path, help='where the pictures are')
    parser.add_argument('target', type=Path, nargs='?', help='where the sorted ones go; left out: only check')
    parser.add_argument('--expect', metavar='TRAIN,VAL,TEST', help='numbers of pictures, if not the whole set (17: 680,340,340; 102: 1020,1020,6149)')
    args = parser.parse_args(argv)
    try:
        expected = tuple(int(n) for n in args.expect.split(',')) if args.expect else SETS[args.classes][2]
        assert len(expected) == 3
    except (ValueError, AssertionError):
        raise UserError(f'--expect wants three numbers with commas between them, not {args.expect!r}') from None
    if args.target and args.target.exists():
        raise UserError(f'{args.target} is there already; delete it to make it anew')
    if not args.folder.is_dir():
        raise UserError(f'{args.folder}: no such folder')

    read = sorted_pictures if (args.folder / 'train').is_dir() else unsorted_pictures
    pictures = read(args.folder, args.classes)
    check(pictures, expected)
    if args.target:
        write(pictures, args.target)
    print(f'{args.target or args.folder}: {sum(expected)} pictures of {args.classes} flowers, all decodable: '
          f'{expected[0]} train, {expected[1]} val, {expected[2]} test')


if __name__ == '__main__':
    script(main)
