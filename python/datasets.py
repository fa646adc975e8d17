"""Where the data comes from: real files if they are there, else the built-in handwriting.

Real data is looked for in --data DIR, else in the folder that the environment variable NN_DATA names, else in data/ of this project. A set that is not there
is replaced by its built-in stand-in (handwriting.py), made once under data/builtin/ and announced in one line: every script runs on a machine that has
downloaded nothing. Whatever is loaded is checked first; what is wrong is said with the file's name, as a UserError.
"""
import collections, contextlib, hashlib, json, os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TOP = Path(__file__).resolve().parent.parent
BUILTIN = Path(os.environ.get('NN_BUILTIN') or TOP / 'data' / 'builtin')      # elsewhere, where the project's folder cannot be written to
IMAGES = TOP / 'images'
CLASSES = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
PHOTO_TYPES = {'.jpg', '.jpeg', '.png', '.tif', '.tiff', '.bmp', '.webp'}

# git's object names of the course's own files: tells them from a rebuild
COURSE_FILES = {
    'nist36_train.mat': 'c46ac54a65e595cd35bf5ac2cc908f590b8d584d',
    'nist36_valid.mat': 'eedbc65be5c3efcdd6f030d0bf5b5bce60d5516a',
    'nist36_test.mat': 'd90541c85b97243f0d12d8dbd51a65de33965f1f',
}


class UserError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do. Scripts print it in one line and exit with status 2."""


# ---------------------------------------------------------------- where data lies

FETCHED_BY = {'NIST36': 'scripts/get_data.sh', 'MNIST': 'python/run_q7_1.py --download', 'EMNIST': 'python/run_q7_1.py --download',
              'flowers': 'scripts/fetch_flowers17.sh'}


class Data:
    """The folder real data is read from, and a record of what was really used."""

    def __init__(self, folder=None):
        """folder: --data DIR; None looks at the environment variable NN_DATA, then takes data/ of the project. Raises UserError if a named one is missing."""
        named = folder or os.environ.get('NN_DATA')
        self.folder = Path(named) if named else TOP / 'data'
        if named and not self.folder.is_dir():
            raise UserError(f'the data folder {named} does not exist; give another with --data DIR, or none to use data/')
        self.sets = {}

    def find(self, name, files, make, builtin=False):
        """Folder that holds all of files (relative paths) of the set called name: the real one, or else the built-in one, made by handwriting.<make>().

        builtin   the built-in one even where the real one is

        Raises UserError if some of the real files are there and some are not.
        """
        if builtin:
            return self.builtin(f'built-in {name}', files, make)
        there = [f for f in files if (self.folder / f).exists()]
        if len(there) == len(files):
            self.record(name, f'{self.folder.name}/{common_pattern(files)}')
            return self.folder
        if there:
            missing = next(f for f in files if f not in there)
            raise UserError(f'{self.folder / missing} is missing beside {there[0]}; get it with {FETCHED_BY[name]}, or remove the others to use built-in data')
        if name not in self.sets:
            print(f'{name}: not in {self.folder}; using the built-in stand-in (real data: {FETCHED_BY[name]})', flush=True)
        return self.builtin(name, files, make)

    def builtin(self, name, files, make):
        """The folder of the built-in files, made if they are not there yet; recorded as the set called name."""
        if not all((BUILTIN / f).exists() for f in files):
            print(f'{name}: making it once in {BUILTIN}', flush=True)
            import handwriting      # late: only this one use
            getattr(handwriting, make)(BUILTIN)
        self.record(name, 'built-in handwriting')
        return BUILTIN

    def record(self, name, source):
        """Remember that the set called name came from source, for the results file."""
        self.sets[name] = source

    def stands_in(self, name):
        """Was a built-in set read as the set called name?"""
        return self.sets[name].startswith('built-in')

    def used(self):
        """What the results file says under 'data'."""
        return '; '.join(sorted(set(self.sets.values()))) or 'none'


def common_pattern(files):
    """'nist36_*.mat' for nist36_train.mat, nist36_valid.mat, ...; a single file as it is."""
    if len(files) == 1:
        return str(files[0])
    start = os.path.commonprefix([str(f) for f in files])
    end = os.path.commonprefix([str(f)[::-1] for f in files])[::-1]
    return f'{start}*{end}'


@contextlib.contextmanager
def writing(path):
    """A path beside path to write to; renamed to path when all went well, removed otherwise. Makes the folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def git_fingerprint(path):
    """What `git hash-object` prints for the file: SHA-1 of its length and contents."""
    content = Path(path).read_bytes()
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


# ---------------------------------------------------------------- NIST36

@dataclass
class Characters:
    """One split of NIST36.

    x (N, 1024): a 32x32 picture per row, stored transposed (x[n].reshape(32, 32).T is upright), ink near 0 on paper near 1.  y (N, 36): one-hot.
    """
    x: np.ndarray
    y: np.ndarray
    classes: str = CLASSES

    @property
    def labels(self):
        """(N,) index into classes."""
        return self.y.argmax(axis=1)


def load_nist36(split, data=None, dtype=np.float64, builtin=False):
    """split: 'train', 'valid' or 'test'. data: a Data (default: the usual places). Returns Characters of that dtype. Raises UserError on a broken file.

    builtin   the built-in stand-in, even where the real files are
    """
    import scipy.io     # late: slow to import, and --help does not need it
    data = data or Data()
    files = [f'nist36_{s}.mat' for s in ('train', 'valid', 'test')]
    path = data.find('NIST36', files, 'write_nist36', builtin) / f'nist36_{split}.mat'
    try:
        content = scipy.io.loadmat(path)
    except Exception as error:         # scipy raises many kinds for a broken file
        raise UserError(f'{path} cannot be read as a .mat file ({type(error).__name__}: {error}); {mend(path)}') from None
    x, y = (content.get(f'{split}_{part}') for part in ('data', 'labels'))
    check_characters(path, split, x, y)
    return Characters(np.ascontiguousarray(x, dtype), np.ascontiguousarray(y, dtype))


def mend(path, fetch='fetch it again with scripts/get_data.sh'):
    """What to do about a broken file: the built-in ones are made anew where they are missing."""
    return 'delete it, and it is made anew' if BUILTIN in path.parents else fetch


def check_characters(path, split, x, y):
    """Raise UserError if x and y, read from path, are not what a NIST36 file holds."""
    def refuse(what):
        raise UserError(f'{path}: {what}; {mend(path)}')
    for part, array in (('data', x), ('labels', y)):
        if array is None:
            refuse(f"has no '{split}_{part}'")
        if array.ndim != 2 or array.dtype.kind not in 'fiu':
            refuse(f"'{split}_{part}' is not a matrix of numbers")
    if x.shape[1] != 1024 or y.shape != (len(x), 36) or not len(x):
        refuse(f'shapes {x.shape} and {y.shape} instead of (N, 1024) and (N, 36)')
    if not np.isfinite(x).all():
        refuse('some pixels are not finite')
    if x.min() < -0.5 or x.max() > 1.5:
        refuse(f'pixels from {x.min():.3g} to {x.max():.3g} instead of about 0 to 1')
    if not (((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()):
        refuse('labels are not one-hot')


def nist36_origin(data):
    """'the course's files', 'another build' or 'built-in handwriting': what load_nist36 reads, by the files' fingerprints."""
    if any((data.folder / f).exists() for f in COURSE_FILES):
        same = all((data.folder / f).exists() and git_fingerprint(data.folder / f) == sha for f, sha in COURSE_FILES.items())
        return "the course's files" if same else "another build than the course's"
    return 'built-in handwriting'


def two_of_each(characters, *names):
    """Indices of the first two pictures of each named class, in that order."""
    return np.concatenate([np.flatnonzero(characters.labels == characters.classes.index(name))[:2] for name in names])


def upright(x):
    """Rows as stored, (N, 1024) -> pictures (N, 32, 32) the right way up. Works for any square size."""
    side = int(round(x.shape[-1] ** 0.5))
    return x.reshape(*x.shape[:-1], side, side).swapaxes(-1, -2)


def flatten(pictures):
    """Upright pictures (N, s, s) -> rows as NIST36 stores them, (N, s*s); the inverse of upright()."""
    return pictures.swapaxes(-1, -2).reshape(*pictures.shape[:-2], -1)


def psnr(original, reconstruction):
    """Peak signal-to-noise ratio in dB, 10 log10(1 / mean squared error) per row of (N, D) with a largest pixel value of 1; the mean over rows."""
    mse = np.mean((np.asarray(original, float) - reconstruction) ** 2, axis=1)
    return float(np.mean(-10 * np.log10(np.maximum(mse, 1e-20))))


# ---------------------------------------------------------------- question 7: folders for torchvision

def mnist_folder(data, builtin=False):
    """Folder for torchvision.datasets.MNIST(root=...): real if data has MNIST/raw, else (or with builtin) built-in."""
    return data.find('MNIST', [f'MNIST/raw/{s}-{k}' for s in ('train', 't10k') for k in ('images-idx3-ubyte', 'labels-idx1-ubyte')], 'write_mnist', builtin)


def emnist_folder(data, builtin=False):
    """Folder for torchvision.datasets.EMNIST(root=..., split='balanced'): real if data has EMNIST/raw, else (or with builtin) built-in."""
    files = [f'EMNIST/raw/emnist-balanced-{s}-{k}' for s in ('train', 'test') for k in ('images-idx3-ubyte', 'labels-idx1-ubyte')]
    return data.find('EMNIST', files, 'write_emnist', builtin)


def flowers17_folder(data):
    """Folder with train/, val/ and test/ for torchvision.datasets.ImageFolder: real if data has oxford-flowers17/, else procedural flowers."""
    return data.find('flowers', [f'oxford-flowers17/{s}' for s in ('train', 'val', 'test')], 'write_flowers') / 'oxford-flowers17'


# ---------------------------------------------------------------- photos and their ground truth

def photos(paths=()):
    """The photos to read: paths as given (each must exist), or all pictures in images/, sorted by name."""
    if paths:
        for path in paths:
            if not Path(path).is_file():
                raise UserError(f'{path}: no such photo')
        return [Path(path) for path in paths]
    found = sorted(p for p in IMAGES.iterdir() if p.suffix.lower() in PHOTO_TYPES) if IMAGES.is_dir() else []
    if not found:
        raise UserError(f'no pictures in {IMAGES}; name some, or get the course\'s with scripts/get_data.sh')
    return found


def load_photo(path):
    """A picture as findLetters wants it: float RGB (H, W, 3) in 0..1, turned upright by its EXIF note; grey, RGBA (on white) and 16-bit are taken too.

    Raises UserError if it cannot be read.
    """
    from PIL import Image, ImageOps
    try:
        with Image.open(path) as picture:
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith('I') or picture.mode == 'F':
                grey = np.asarray(picture, float)
                return np.repeat((grey / max(65535 if picture.mode.startswith('I') else 1, grey.max()))[..., None], 3, axis=2)
            if picture.mode in ('RGBA', 'LA', 'PA') or 'transparency' in picture.info:
                picture = picture.convert('RGBA')
                picture = Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture)
            return np.asarray(picture.convert('RGB'), np.float64) / 255
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f'{path} cannot be read as a picture ({error})') from None


def ground_truth(folder=IMAGES):
    """{file name: [line, ...]} from ground_truth.json in folder; empty if there is none."""
    path = Path(folder) / 'ground_truth.json'
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f'{path} is not valid JSON ({error})') from None


def edits(a, b):
    """Levenshtein distance of two strings: the least number of insertions, deletions and substitutions that turn a into b."""
    row = list(range(len(b) + 1))
    for i, ca in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, cb in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (ca != cb))
    return row[-1]


def score(lines, truth):
    """Compare the lines read with the true ones: {'characters', 'edits', 'lines_exact', 'lines_true'}.

    Edits count letters and digits only, in upper case, over the whole photo. A line is exact if it reads as written: single spaces between words,
    full stops ignored.
    """
    def letters(text):
        return ''.join(c for c in text.upper() if c.isalnum())

    def words(line):
        return ' '.join(line.upper().replace('.', ' ').split())
    read, wanted = letters(''.join(lines)), letters(''.join(truth))
    if len(lines) == len(truth):
        exact = sum(words(a) == words(b) for a, b in zip(lines, truth))
    else:       # a line was lost or made up: each line read may count for one true line
        exact = sum((collections.Counter(map(words, lines)) & collections.Counter(map(words, truth))).values())
    return {'characters': len(wanted), 'edits': edits(read, wanted), 'lines_exact': exact, 'lines_true': len(truth)}
