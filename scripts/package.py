"""Packs what is handed in, for package.sh: the handout's files with what they import, the saved results, and the writeup.

Which modules are needed is read from the import statements, also those inside functions, so a new module cannot be forgotten. The files lie at the top
of the zip, as the course's scripts and Gradescope expect them.
"""
import argparse, ast, os, re, subprocess, sys, tempfile, zipfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CODE = TOP / 'python'
sys.path[:0] = [str(CODE), str(TOP / 'scripts')]
import build_writeup                           # noqa: E402
from experiment import UserError, script       # noqa: E402

HANDOUT = ['nn.py', 'util.py', 'q4.py', 'run_q2.py', 'run_q3.py', 'run_q4.py', 'run_q5.py', 'run_q6.py', 'run_q7.py']
SAVED = {       # what each question leaves beside the code
    'run_q3.py': ['q3_weights.pickle'],
    'run_q5.py': ['q5_weights.pickle'],
    'run_q7_1.py': [f'q7_1_{name}.pt' for name in ('fully_connected', 'mnist', 'nist36', 'emnist')],
    'run_q7_2.py': [f'q7_2_{name}.pt' for name in ('fine_tuned', 'from_scratch')],
}


def imported(path):
    """Names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def with_imports(files):
    """The files, and below CODE whatever they import, directly or not; sorted. Raises UserError if one of files is missing."""
    needed, todo = set(), [CODE / name for name in files]
    while todo:
        path = todo.pop()
        if not path.is_file():
            raise UserError(f'{path} is missing, and the handout asks for it')
        if path not in needed:
            needed.add(path)
            todo.extend(file for file in (CODE / f'{name}.py' for name in imported(path)) if file.is_file())
    return sorted(needed)


def saved(out):
    """({name in the zip: path}, [what is missing and how to get it]) of weights and results; out: the --out DIR of the runs, or None."""
    found, missing = {}, []
    for question, names in SAVED.items():
        for name in names:
            path = (out or CODE) / name
            if path.is_file():
                found[name] = path
            else:
                missing.append(f'{name} (python python/{question})')
    results = sorted(((out or TOP / 'writeup') / 'results').glob('*.json'))
    found.update({f'results/{path.name}': path for path in results})
    return found, missing if results else [*missing, 'results/*.json (scripts/run_all.sh)']


def try_out(archive):
    """Unpack the zip in a folder of its own and run question 2 there. Raises UserError if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / 'unpacked'
        with zipfile.ZipFile(archive) as content:
            content.extractall(place)
        env = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'NN_DATA')}
        done = subprocess.run([sys.executable, 'run_q2.py', '--quick', '--out', folder], cwd=place, env=env, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f'unpacked elsewhere, run_q2.py fails: {(done.stderr.strip().splitlines() or ["no message"])[-1]}')


def main(argv=None):
    parser = argparse.ArgumentParser(prog='package.sh', description='Pack code, saved results and writeup for handing in.')
    parser.add_argument('andrewid', metavar='ANDREWID', help='names the two files')
    parser.add_argument('--out', metavar='DIR', type=Path, help='take results and weights of runs made with --out DIR')
    args = parser.parse_args(argv)
    if not re.fullmatch('[A-Za-z][A-Za-z0-9]{1,31}', args.andrewid):
        raise UserError(f'{args.andrewid!r} is no Andrew id: a letter, then letters and digits, without the @andrew.cmu.edu')
    if args.out and not args.out.is_dir():
        raise UserError(f'the folder {args.out} does not exist; give the --out DIR of a run')

    results, missing = saved(args.out)
    files = {path.name: path for path in with_imports(HANDOUT)} | results
    try:
        pdf = build_writeup.set_document(args.out, args.andrewid)
    except build_writeup.UserError as error:
        raise UserError(str(error)) from None
    targets = {Path(f'{args.andrewid}.zip'): None, Path(f'{args.andrewid}.pdf'): pdf}
    with tempfile.TemporaryDirectory(dir='.', suffix='.part') as folder:
        for target, content in targets.items():
            part = Path(folder) / target
            if content is None:
                with zipfile.ZipFile(part, 'w', zipfile.ZIP_DEFLATED) as archive:
                    for name, path in files.items():
                        archive.write(path, name)
                try_out(part)
            else:
                part.write_bytes(content)
        for target in targets:
            os.replace(Path(folder) / target, target)

    for name, path in files.items():
        print(f'  {path.stat().st_size:>10,}  {name}')
    for what in missing:
        print(f'  not there yet: {what}')
    print(f'{args.andrewid}.zip: {len(files)} files, {Path(f"{args.andrewid}.zip").stat().st_size / 1e6:.1f} MB; run_q2.py runs from it')
    print(f'{args.andrewid}.pdf: the writeup')


if __name__ == '__main__':
    script(main)
