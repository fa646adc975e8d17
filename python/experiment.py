"""What all scripts share: arguments, the seed, the clock, and where results and figures go.

    run = experiment.start('q6', __doc__, argv, components=32)      parse the flags, print seed and data
    run.args.components                                             the question's own flags
    run.figure('components', fig)                                   -> writeup/figures/q6_components.png
    return run.finish(psnr_valid=17.1)                              -> writeup/results/q6.json, and returns what it holds

With --out DIR results, figures and weights go below DIR, so that a trial leaves the real results alone. Every file is written beside its place and then
renamed: an interrupted run never leaves half of one.
"""
import argparse, importlib.metadata, json, math, os, pickle, sys, textwrap, time
from pathlib import Path

import numpy as np

import datasets
from datasets import UserError

CODE = Path(__file__).resolve().parent
PACKAGES = ('numpy', 'scipy', 'scikit-image', 'matplotlib', 'torch', 'torchvision')


# ---------------------------------------------------------------- arguments

def option(default, help='', quick=None, positional=False, **kwargs):
    """A flag of the question's own, for start(): its default, its help, its value under --quick; kwargs go to argparse."""
    return {'default': default, 'help': help, 'quick': quick, 'positional': positional, **kwargs}


def add_option(group, name, default, help='', quick=None, positional=False, **kwargs):
    if isinstance(default, bool):
        kwargs.setdefault('action', argparse.BooleanOptionalAction)
    elif default is not None and not isinstance(default, (list, tuple)):
        kwargs.setdefault('type', type(default))
    if not positional and default not in (None, False, True, []):
        help += f' (default {default}{"" if quick is None else f", {quick} with --quick"})'
    flag = name if positional else '--' + name.replace('_', '-')
    # the real default is filled in after parsing, when it is known whether --quick was given
    group.add_argument(flag, help=help.strip().replace('%', '%%'), default=None, **kwargs)


def parse(doc, argv, options):
    """The flags that every script has, then the question's own; the script's docstring is the help."""
    parser = argparse.ArgumentParser(description=doc.strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = parser.add_argument_group('shared by all scripts')
    shared.add_argument('--data', metavar='DIR', help='where the real data lies (default: $NN_DATA, else data/); built-in data replaces what is missing')
    shared.add_argument('--out', metavar='DIR', help='put results, figures and weights below DIR '
                        '(default: writeup/results, writeup/figures, python/; with --quick, writeup/quick)')
    shared.add_argument('--seed', type=int, default=0, metavar='N', help='seed of all random numbers (default 0)')
    shared.add_argument('--quick', action='store_true', help='a cheap run of every step, to see that all works; its numbers mean little')
    shared.add_argument('--show', action='store_true', help='open the figures in windows at the end')
    own = parser.add_argument_group("this question's own")
    options = {name: value if isinstance(value, dict) else option(value) for name, value in options.items()}
    for name, settings in options.items():
        add_option(own, name, **settings)
    args = parser.parse_args(argv)
    for name, settings in options.items():
        if getattr(args, name) is None or (settings['positional'] and getattr(args, name) == []):
            setattr(args, name, settings['quick'] if args.quick and settings['quick'] is not None else settings['default'])
    for name, settings in options.items():
        value, default = getattr(args, name), settings['default']
        counts = isinstance(default, (int, float)) and default > 0 and not isinstance(default, bool)
        if counts and not 0 < value < math.inf:
            raise UserError(f'--{name.replace("_", "-")} must be greater than 0, not {value}')
    if args.seed < 0:
        parser.error(f'--seed must not be negative, not {args.seed}')
    return args


# ---------------------------------------------------------------- one run

class Run:
    """One run of one question: its arguments, its data, its random numbers and its places on disk. Made by start()."""

    def __init__(self, question, args):
        self.question, self.args = question, args
        self.started = time.perf_counter()
        self.rng = np.random.default_rng(args.seed)
        self.data = datasets.Data(args.data)
        # a trial leaves the results and the weights of real runs alone
        out = Path(args.out) if args.out else datasets.TOP / 'writeup' / 'quick' if args.quick else None
        self.results, self.figures = ((out or datasets.TOP / 'writeup') / name for name in ('results', 'figures'))
        self.weights = out or CODE
        for folder in (self.results, self.figures, self.weights):
            check_writable(folder)
        self.shown = []

    def figure(self, name, fig):
        """Save a matplotlib figure as figures/<question>_<name>.png; returns the path."""
        path = self.figures / f'{self.question}_{name}.png'
        with writing(path) as part:
            fig.savefig(part, format='png')
        self.shown.append(fig)
        return path

    def weights_file(self, name):
        """Where the weights called name are read from: below --out if they are there, else beside the code."""
        return self.weights / name if (self.weights / name).exists() else CODE / name

    def finish(self, **results):
        """Write results/<question>.json with results and where they come from; says where; returns the dict."""
        record = {
            'question': self.question, 'data': self.data.used(), 'data_sets': self.data.sets, 'quick': self.args.quick, 'seed': self.args.seed,
            'seconds': round(time.perf_counter() - self.started, 2), 'versions': versions(), **results,
        }
        record = plain(record)
        path = self.results / f'{self.question}.json'
        with writing(path) as part:
            part.write_text(json.dumps(record, indent=1, allow_nan=False) + '\n')
        print(f'{self.question}: {record["seconds"]:.1f} s on {record["data"]}; '
              f'results in {shorten(path)}, figures in {shorten(self.figures)}/{self.question}_*.png')
        if self.args.show:
            from matplotlib import pyplot
            pyplot.show()
        for fig in self.shown:
            fig.clear()
        return record


def check_writable(folder):
    """Raise UserError unless files could be made in folder, which need not exist yet: better known before an hour's work than after it."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(f'{folder} cannot be written: {there} is no folder, or not yours to write in; name another with --out DIR')


def start(question, doc, argv=None, **options):
    """Parse argv (default: the command line) and begin a run of question ('q2' ... 'q7_2'); options are the question's own flags, as defaults or option()."""
    args = parse(doc, argv, options)
    if not args.show:
        os.environ['MPLBACKEND'] = 'agg'    # no window, no display needed
    print(f'{question}: seed {args.seed}{", quick" if args.quick else ""}', flush=True)
    return Run(question, args)


def script(main):
    """Run main() as a command: a UserError, or a file that cannot be read or written, becomes one line and exit status 2, Ctrl-C one line and status 130."""
    try:
        main()
    except UserError as error:
        print(f'{Path(sys.argv[0]).name}: {error}', file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:         # what the output is piped into, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        print(f'{Path(sys.argv[0]).name}: {error.filename or "a file"}: {error.strerror or error}; look at the folder, its rights and the room on the disk, '
              'or name another with --out (for built-in data: the environment variable NN_BUILTIN)', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f'{Path(sys.argv[0]).name}: interrupted; what was already saved is kept', file=sys.stderr)
        sys.exit(130)


# ---------------------------------------------------------------- files

writing = datasets.writing


def versions():
    """Version of each of the project's packages that is installed, read without importing them."""
    found = {'python': sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return found


def plain(value):
    """value with numpy scalars and arrays, tuples and paths turned into what JSON knows; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def shorten(path):
    """path relative to the current folder where it lies below it."""
    try:
        return Path(path).resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def save_pickle(path, value):
    """Pickle value (numpy arrays and plain containers) to path."""
    with writing(path) as part, open(part, 'wb') as file:
        pickle.dump(value, file)


def load_pickle(path, advice=''):
    """What save_pickle, or any other copy of the homework, wrote: numpy arrays, numbers, strings and plain containers.

    A pickle can name any function to call on opening, so everything else is refused. Raises UserError where the file is missing, broken or holds other things.
    """
    try:
        with open(path, 'rb') as file:
            return PlainUnpickler(file).load()
    except FileNotFoundError:
        raise UserError(f'{shorten(path)} is missing{"; " + advice if advice else ""}') from None
    except UserError as error:
        raise UserError(f'{shorten(path)}: {error}') from None
    except Exception as error:      # a broken pickle can fail in any way
        raise UserError(f'{shorten(path)} is not a readable pickle ({type(error).__name__}: {error}){"; " + advice if advice else ""}') from None


class PlainUnpickler(pickle.Unpickler):
    """Opens pickles of numpy arrays and plain containers, from numpy 1 or 2, and nothing else."""

    NUMPY = {'ndarray', 'dtype', '_reconstruct', 'scalar', '_frombuffer'}
    PLAIN = {('collections', name) for name in ('Counter', 'OrderedDict', 'defaultdict')} | {('_codecs', 'encode')}
    BUILTIN = {'int', 'float', 'complex', 'bool', 'bytearray', 'set', 'frozenset', 'list', 'dict', 'tuple', 'slice', 'range'}

    def find_class(self, module, name):
        if module.split('.')[0] == 'numpy' and name in self.NUMPY:
            module = module.replace('numpy.core', 'numpy._core') if hasattr(np, '_core') else module.replace('numpy._core', 'numpy.core')
            return super().find_class(module, name)
        if (module, name) in self.PLAIN or (module in ('builtins', '__builtin__') and name in self.BUILTIN):
            return super().find_class(module, name)
        raise UserError(f'the pickle asks for {module}.{name}; only numpy arrays and plain containers are opened')


class Progress:
    """A line per epoch: loss, accuracy, seconds, and how long the rest will take."""

    def __init__(self, epochs, done=0, every=1):
        self.epochs, self.done, self.every = epochs, done, every
        self.first, self.started = done, time.perf_counter()

    def line(self, **numbers):
        """Call once per epoch with what is to be shown, e.g. line(loss=0.31, valid=0.82)."""
        self.done += 1
        if self.done % self.every and self.done != self.epochs:
            return
        seconds = time.perf_counter() - self.started
        left = seconds / (self.done - self.first) * (self.epochs - self.done)
        shown = '  '.join(f'{name} {value:.4g}' for name, value in numbers.items())
        print(f'  epoch {self.done:3d}/{self.epochs}  {shown}  {seconds:.0f} s, {left:.0f} s left', flush=True)


def table(rows, header):
    """Print rows (lists of anything) below header, in aligned columns."""
    cells = [[f'{c:.4g}' if isinstance(c, float) else str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print('  ' + '  '.join(c.ljust(w) for c, w in zip(row, widths)).rstrip())


# ---------------------------------------------------------------- what came out, for run_all.sh

KEY_NUMBERS = {     # question: {what the table calls it: where it is in the results file}
    'q2': {'loss': 'loss', 'accuracy': 'accuracy', 'gradient error': 'gradient_error'},
    'q3': {'valid': 'best.valid_accuracy', 'test': 'best.test_accuracy'},
    'q4': {'edits': 'edits', 'of characters': 'characters', 'exact lines': 'lines_exact', 'of': 'lines'},
    'q5': {'PSNR, course settings': 'course.psnr_valid', 'best': 'best.psnr_valid'},
    'q6': {'PSNR': 'psnr_valid', 'rank': 'rank'},
    'q7_1': {'test: fully connected': 'fully_connected.test_accuracy', 'MNIST': 'mnist.test_accuracy', 'NIST36': 'nist36.test_accuracy',
             'EMNIST': 'emnist.test_accuracy'},
    'q7_2': {'test: fine-tuned': 'fine_tuned.test_accuracy', 'from scratch': 'from_scratch.test_accuracy'},
}


def key_numbers(record, places):
    """'valid 87.9 %, test 88.1 %': the numbers in record at places ({label: dotted name}), those that are there."""
    shown = []
    for label, place in places.items():
        value = record
        for part in place.split('.'):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, (int, float)):
            shown.append(f'{label} {100 * value:.1f} %' if place.endswith('accuracy') else f'{label} {value:.4g}')
    return ', '.join(shown)


def summary(results, outcomes):
    """Print a row per step of run_all.sh: its data and key numbers, from results/<question>.json, and what it took.

    outcomes   {question: (exit status of its script, seconds of the whole command)}; 'writeup' is a step, too
    """
    rows = []
    for question, (status, seconds) in outcomes.items():
        path = Path(results) / f'{question}.json'
        if question == 'writeup' and not status:
            rows.append([question, '-', 'writeup.pdf', seconds])
            continue
        if status or not path.exists():
            rows.append([question, '-', f'FAILED with status {status}' if status else 'no results file', seconds])
            continue
        record = json.loads(path.read_text())
        data = textwrap.shorten(record['data'], 40, placeholder=' ...') + (', quick' if record.get('quick') else '')     # many photos make a long list
        rows.append([question, data, key_numbers(record, KEY_NUMBERS.get(question, {})) or 'see its output above', seconds])
    table(rows, ['question', 'data', 'what came out', 'seconds'])
    print(f'in all {sum(seconds for _, seconds in outcomes.values())} seconds')
    print(f'results in {shorten(results)}, figures in {shorten(Path(results).parent / "figures")}')


if __name__ == '__main__':      # python/experiment.py writeup/results q2=0=3 q3=1=250 ...
    summary(sys.argv[1], {name: (int(status), int(seconds)) for name, status, seconds in (outcome.split('=') for outcome in sys.argv[2:])})
