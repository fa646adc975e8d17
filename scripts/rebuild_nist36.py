"""Make NIST36 anew from EMNIST by-class, for when the course's server is gone.

    python scripts/rebuild_nist36.py                    fetches EMNIST through torchvision (560 MB, some gigabytes unpacked in data/EMNIST), then a minute
    python scripts/rebuild_nist36.py --emnist DIR       no network: DIR/EMNIST/raw holds emnist-byclass-test-{images-idx3,labels-idx1}-ubyte

Both sets come from the forms of NIST Special Database 19, so the result is the same kind of handwriting in the same look, but not the course's files: 300, 100
and 50 of each class, A-Z then 0-9, drawn at random from by-class's test pictures (and from its training pictures for a letter that has too few of them). The
network of question 3 reaches the same accuracy on both. Each picture of 28x28 is cropped, enlarged and made black and white, centred on a square on which its
longer side takes 19 to 29 of 32 pixels, and shrunk to 32x32 by bicubic interpolation, whose ringing gives the course's background of about 0.94.

Pictures of EMNIST are then in NIST36 too: never train on one and report on the other. Writes data/nist36_{train,valid,test}.mat (--out DIR: there).
"""
import argparse, contextlib, sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'python'))
import datasets                                # noqa: E402
from experiment import UserError, script       # noqa: E402

BY_CLASS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'     # in the order of EMNIST's labels
PER_CLASS = {'train': 300, 'valid': 100, 'test': 50}


def course_look(glyph, rng):
    """An upright picture of EMNIST, (28, 28) uint8 with bright ink on 0 -> (32, 32) float in 0..1, dark ink on white, as NIST36 has it."""
    rows, columns = (np.flatnonzero((glyph > 60).any(axis=axis)) for axis in (1, 0))
    ink = Image.fromarray(glyph[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1].astype(np.float32) / 255)
    ink = np.asarray(ink.resize((5 * ink.width, 5 * ink.height), Image.BICUBIC)) > 0.45
    target = np.clip(rng.normal(25, 1.5), 19, 29)
    side = round(32 / target * max(ink.shape))
    canvas = np.zeros((side, side), np.float32)
    top, left = ((side - length) // 2 for length in ink.shape)
    canvas[top:top + ink.shape[0], left:left + ink.shape[1]] = ink
    # Pillow shrinks with antialiasing, and does not clip the overshoot of floating-point pictures
    small = np.asarray(Image.fromarray(canvas).resize((32, 32), Image.BICUBIC))
    return 1 - (small - small.min()) / (small.max() - small.min())


def read_by_class(folder, train, download=False):
    """Pictures (N, 28, 28) uint8, upright, and labels (N,) of EMNIST by-class below folder. Raises UserError if they are missing or broken."""
    from torchvision.datasets import EMNIST         # late: --help does not need torch
    part = 'training' if train else 'test'
    try:
        found = EMNIST(str(folder), split='byclass', train=train, download=download)
        x, labels = found.data.numpy(), found.targets.numpy()
    except Exception as error:                      # no network, a full disk, a broken file ...
        advice = 'try again, or give a folder that has it with --emnist DIR' if download else 'fetch it by leaving out --emnist'
        why = f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ""}'
        raise UserError(f'EMNIST by-class, {part} pictures: not to be had in {folder} ({why}); {advice}') from None
    if x.shape[1:] != (28, 28) or len(x) != len(labels) or labels.max(initial=0) >= len(BY_CLASS):
        raise UserError(f'{folder}/EMNIST/raw: {x.shape} pictures, {len(labels)} labels up to {labels.max(initial=0)}: not EMNIST by-class')
    return x.swapaxes(1, 2), labels                 # stored transposed


def choose(parts, name, count, rng):
    """count random pictures of the class called name, from the first of parts and, if that has too few, from the next; parts are functions -> (x, labels)."""
    chosen = []
    for part in parts:
        x, labels = part()
        there = x[labels == BY_CLASS.index(name)]
        there = there[(there > 60).any(axis=(1, 2))]
        chosen.extend(there[rng.permutation(len(there))[:count - len(chosen)]])
        if len(chosen) == count:
            return chosen
    raise UserError(f'EMNIST by-class has {len(chosen)} pictures of {name}, {count} are needed')


def build(parts, rng):
    """{split: (x (N, 1024), y (N, 36))} for the three splits; no picture is in two of them."""
    splits = {split: ([], []) for split in PER_CLASS}
    for label, name in enumerate(datasets.CLASSES):
        pictures = iter([course_look(glyph, rng) for glyph in choose(parts, name, sum(PER_CLASS.values()), rng)])
        for split, count in PER_CLASS.items():
            splits[split][0].extend(next(pictures) for _ in range(count))
            splits[split][1].extend([label] * count)
    return {split: (datasets.flatten(np.array(x, float)), np.eye(36)[y]) for split, (x, y) in splits.items()}


def save(folder, splits):
    """Write the three .mat files, all or none."""
    import scipy.io
    with contextlib.ExitStack() as files:
        for split, (x, y) in splits.items():
            part = files.enter_context(datasets.writing(folder / f'nist36_{split}.mat'))
            with open(part, 'wb') as file:
                scipy.io.savemat(file, {f'{split}_data': np.round(x, 4), f'{split}_labels': y}, do_compression=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--emnist', metavar='DIR', type=Path, help='folder that holds EMNIST/raw; nothing is fetched (default: data/, fetched if missing)')
    parser.add_argument('--out', metavar='DIR', type=Path, default=datasets.TOP / 'data', help='where the three files go (default: data/)')
    parser.add_argument('--seed', type=int, default=0, metavar='N', help='of the choice and the sizes (default 0)')
    args = parser.parse_args(argv)
    if args.seed < 0:
        parser.error(f'--seed must not be negative, not {args.seed}')
    for split in PER_CLASS:
        if (args.out / f'nist36_{split}.mat').exists():
            raise UserError(f'{args.out / f"nist36_{split}.mat"} is there already; move it away, or give another folder with --out DIR')

    folder, cache = args.emnist or datasets.TOP / 'data', {}

    def part(train):
        """The pictures of one part, read at most once: the training part is large and seldom needed."""
        if train not in cache:
            print(f'reading EMNIST by-class, {"training" if train else "test"} pictures, from {folder}', flush=True)
            cache[train] = read_by_class(folder, train, download=args.emnist is None)
        return cache[train]

    splits = build([lambda: part(False), lambda: part(True)], np.random.default_rng(args.seed))
    save(args.out, splits)
    for split, (x, _) in splits.items():
        print(f'{args.out / f"nist36_{split}.mat"}: {len(x)} characters, mean {x.mean():.3f}, standard deviation {x.std():.3f} (the course: 0.792, 0.306)')
    print("Call results on these files \"NIST36 (rebuilt from EMNIST by-class)\": they are not the course's.")


if __name__ == '__main__':
    script(main)
