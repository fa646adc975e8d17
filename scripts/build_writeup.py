"""Sets the writeup with typst: gathers the results and figures that exist, hands them to writeup/writeup.typ, and writes the PDF.

Called by build_writeup.sh. Needs typst and the standard library only. Typst cannot ask whether a file exists, so this script tells it: `results` is one JSON
text of all results/*.json, `figures` maps the name of every figure to its place. Results of runs below trained_on_builtin/ (made with --out, by networks that
never saw a real letter) come in as builtin_q3, builtin_q4 and so on.
"""
import argparse, json, math, os, sys
from pathlib import Path

WRITEUP = Path(__file__).resolve().parent.parent / 'writeup'


class UserError(Exception):
    """Something the user can mend: printed in one line, exit status 2."""


def plain(value):
    """value without what typst's numbers cannot hold: nan and infinities become null, integers of more than 63 bits floats or null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return float(value) if abs(value) < 10**300 else None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def gather_results(folder, prefix=''):
    """{prefix + 'q3': {...}, ...} of every results file in folder, which need not exist. Raises UserError on a broken one."""
    results = {}
    for path in sorted(folder.glob('*.json')):
        again = f'run it again (python python/run_{path.stem}.py) or remove the file'
        try:
            content = json.loads(path.read_text(encoding='utf-8'))
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f'{path} cannot be read as JSON ({error}); {again}') from None
        if not isinstance(content, dict):
            raise UserError(f'{path} does not hold the results of a run; {again}')
        results[prefix + path.stem] = plain(content)
    return results


def gather_figures(folder):
    """{'q3_confusion': '/.../q3_confusion.png', ...} of every figure in folder, which need not exist. Raises UserError on a broken one."""
    figures = {}
    for path in sorted(folder.glob('*.png')):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f'{path} cannot be read ({error.strerror})') from None
        if not (content.startswith(b'\x89PNG\r\n\x1a\n') and content.rstrip(b'\0')[-8:-4] == b'IEND'):
            raise UserError(f'{path} is not a whole PNG file; run its question again or remove the file')
        figures[path.stem] = path.resolve().as_posix()
    return figures


def gather(out=None, author=None):
    """What the document is told, as texts by name: the results and figures below out (default: writeup/), and the author. Raises UserError on a broken file."""
    out = Path(out) if out else WRITEUP
    results = gather_results(out / 'results') | gather_results(out / 'trained_on_builtin' / 'results', 'builtin_')
    told = {'results': json.dumps(results, allow_nan=False), 'figures': json.dumps(gather_figures(out / 'figures'))}
    return told | {'author': author} if author else told


def set_document(out=None, author=None, **options):
    """The writeup with the results and figures below out (default: writeup/) as PDF bytes; options go to typst.compile. Raises UserError."""
    try:
        import typst
    except ImportError:
        raise UserError('typst is not installed; scripts/build_writeup.sh installs it, or: pip install -r writeup/requirements.txt') from None
    told = gather(out, author)
    try:        # the root is that of the disk, since results may lie anywhere
        return typst.compile(str(WRITEUP / 'writeup.typ'), root=WRITEUP.anchor, sys_inputs=told, ignore_system_fonts=True, **options)
    except RuntimeError as error:
        raise UserError(f'{WRITEUP / "writeup.typ"} cannot be set: {" ".join(str(error).split())}') from None


def main(argv=None):
    parser = argparse.ArgumentParser(prog='build_writeup.sh', description='Set the writeup as a PDF, from the results and figures that the runs have left.')
    parser.add_argument('--out', metavar='DIR', help='take DIR/results and DIR/figures and write DIR/writeup.pdf (default: writeup/)')
    parser.add_argument('--author', metavar='TEXT', help='name for the title page')
    args = parser.parse_args(argv)
    if args.out and not Path(args.out).is_dir():
        raise UserError(f'the folder {args.out} does not exist; give the --out DIR of a run')
    pdf = set_document(args.out, args.author)
    path = (Path(args.out) if args.out else WRITEUP) / 'writeup.pdf'
    part = path.with_name(f'{path.name}.{os.getpid()}.part')
    try:
        part.write_bytes(pdf)
        os.replace(part, path)
    except OSError as error:
        raise UserError(f'{path} cannot be written ({error.strerror})') from None
    finally:
        part.unlink(missing_ok=True)
    print(f'writeup: {path.resolve()}')


if __name__ == '__main__':
    try:
        main()
    except UserError as error:
        print(f'build_writeup.sh: {error}', file=sys.stderr)
        sys.exit(2)
