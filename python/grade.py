"""Grade a submission of the homework: what holds, what does not, and the smallest example that shows it.

    python python/grade.py DIR                   a submission: the folder with nn.py, q4.py, run_q2.py ..., or one above it; 5 to 30 seconds
    python python/grade.py --all FOLDER          every folder or .zip in FOLDER: grades.csv and report.html (open it in a browser)
    python python/grade.py DIR --gradescope      results.json in Gradescope's format (scripts/package_grader.sh makes the autograder)

Questions that need human eyes are listed as such and never guessed. Points are the handout's as far as known; --points FILE changes them, with a JSON file
such as {"Q2.4.1": 6}. Exit status: 0 all code questions hold, 1 something fails, 2 wrong use.

Students' code runs only in separate processes with limits on time, memory, output, processes and file size, in a copy of its folder and without network.
That guards against accidents. It is not a sandbox against attackers: grade what you do not trust in a container.
"""
import argparse
import contextlib
import csv
import html
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import textwrap
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import datasets, experiment
from datasets import UserError, writing

try:
    import grade_checks, grade_sandbox
    import grade_scripts  # noqa: F401  adds its parts to grade_checks.PARTS
except ModuleNotFoundError as error:        # 'resource' is not in Windows' Python
    raise SystemExit(f'grade.py: {error.name} is missing; the grader needs Linux or macOS') from None

# Points as in the handout (F19), where its number is known; staff change them with --points. The modules named last must import for the question to run.
QUESTIONS = {
    'Q2.1.2': (3, 'initialize_weights', ['nn']),
    'Q2.2.1': (4, 'sigmoid and forward', ['nn']),
    'Q2.2.2': (3, 'softmax', ['nn']),
    'Q2.2.3': (3, 'compute_loss_and_acc', ['nn']),
    'Q2.3.1': (10, 'backwards', ['nn']),
    'Q2.4.1': (5, 'get_random_batches', ['nn']),
    'Q2.5.1': (5, 'run_q2.py: training and gradient check', ['nn']),
    'Q3.1.1': (5, 'q3_weights.pickle', []),
    'Q4.2': (10, 'findLetters', ['q4']),
    'Q5.1.1': (5, 'run_q5.py: the autoencoder', ['nn']),
    'Q5.1.2': (5, 'run_q5.py: momentum', ['nn']),
}
FOR_EYES = {
    'Q1': 'theory', 'Q2.1.1, Q2.1.3': 'initialisation, in words', 'Q3.1.2': 'learning rates and curves', 'Q3.1.3': 'weights as pictures',
    'Q3.1.4': 'confusion matrix', 'Q4.1': 'where segmentation fails', 'Q4.3': 'boxes on the photos', 'Q4.4': 'text read from the photos',
    'Q5.2.1, Q5.3': 'loss curve, reconstructions and PSNR', 'Q6': 'PCA', 'Q7': 'PyTorch',
}
SECONDS = {'Q2.5.1': 18, 'Q3.1.1': 8, 'Q4.2': 16, 'Q5.1.1': 8, 'Q5.1.2': 8}       # the other questions: 5
WHOLE = 28      # seconds for all questions of a submission
SCRIPTS = ('Q2.5.1', 'Q5.1.1', 'Q5.1.2')
FILES = ('nn.py', 'util.py', 'q4.py', 'run_q2.py', 'run_q3.py', 'run_q4.py', 'run_q5.py', 'q3_weights.pickle')
NOT_COPIED = {'__pycache__', 'tests', 'venv', 'env', 'node_modules', 'site-packages'}
BIGGEST_FILE, BIGGEST_TOTAL = 20 << 20, 200 << 20      # bytes of a submission that are copied


# ---------------------------------------------------------------- the submission and its working folders

def find_code(folder):
    """The folder that holds most of the student's files: folder itself or up to three levels below, the nearest first. None if there is none."""
    candidates = [folder, folder / 'python', *(c for depth in ('*', '*/*', '*/*/*') for c in sorted(folder.glob(depth)) if c.is_dir())]
    held = [(sum((c / f).is_file() for f in FILES), -i, c) for i, c in enumerate(candidates) if not c.name.startswith(('.', '__'))]
    most = max(held, key=lambda h: h[:2])
    return most[2] if most[0] else None


def copy_code(source, target):
    """Copy a submission's files, without links, hidden files and what is too large. Returns sentences on what was left out."""
    notes, total = [], 0
    target.mkdir(parents=True)
    for at, folders, files in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith('.') and f not in NOT_COPIED)
        for path in (Path(at) / f for f in sorted(files) if not f.startswith('.')):
            inner = path.relative_to(source)
            try:
                size = path.stat().st_size
                if path.is_symlink() or not path.is_file():
                    continue
                if size > BIGGEST_FILE or total + size > BIGGEST_TOTAL:
                    if path.suffix in ('.py', '.pickle', '.pkl'):
                        notes.append(f'{inner} is left out: {size >> 20} MB')
                    continue
                (target / inner).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / inner)
                total += size
            except OSError as error:
                notes.append(f'{inner} cannot be read ({error.strerror})')
    return notes


def unpack(path, folder):
    """Unpack a submitted .zip into folder, at most BIGGEST_TOTAL bytes of it. Raises UserError if it is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > BIGGEST_TOTAL:
                raise UserError(f'{path} unpacks to more than {BIGGEST_TOTAL >> 20} MB')
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        raise UserError(f'{path} cannot be unpacked ({error})') from None
    return folder


# ---------------------------------------------------------------- what the questions are asked with

PAGES = [(['DEEP LEARNING', 'READS 3 PAGES', '1. AND 20 MORE'], 0.1, 5), (['WATCH THE', 'QUICK FOX', '4. JUMP 56'], 0.4, 6)]    # lines, difficulty, seed
PAGE_WIDTH = 1400       # letters come out about 100 pixels high, as on the course's photos: thresholds in pixels that suit those suit these


def make_kit(path, data):
    """Write the .npz that the questions are asked with: two pages and their boxes, validation characters and where they come from."""
    pages = datasets.BUILTIN / 'grader_pages.npz'
    if not pages.exists():
        import handwriting
        content = {}
        for i, (lines, difficulty, seed) in enumerate(PAGES):
            page = handwriting.page(lines, np.random.default_rng(seed), difficulty=difficulty, width=PAGE_WIDTH, pen='marker')
            content |= {f'page{i}': np.round(page.image * 255).astype(np.uint8), f'boxes{i}': page.boxes}
        with writing(pages) as part, open(part, 'wb') as file:
            np.savez_compressed(file, **content)
    valid = datasets.load_nist36('valid', data)
    with writing(path) as part, open(part, 'wb') as file:
        np.savez_compressed(file, x=np.round(valid.x * 255).clip(0, 255).astype(np.uint8), labels=valid.labels, origin=data.used(), **np.load(pages))


class Desk:
    """The kit and a temporary folder that all submissions of one call share."""

    def __init__(self, kit=None, data=None):
        if kit and not Path(kit).is_file():
            raise UserError(f'{kit} is missing; make it with grade.py --write-kit {kit}')
        self.folder = Path(tempfile.mkdtemp(prefix='grade_'))
        try:
            self.lay_out_kit(kit, data)
            self.lay_out_course_files()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def lay_out_kit(self, kit, data):
        """The kit, copied or made, and matplotlib's list of fonts, which takes seconds to make."""
        self.kit = self.folder / 'kit.npz'
        (self.folder / 'matplotlib').mkdir()
        for file in (Path.home() / '.cache' / 'matplotlib').glob('fontlist-*.json'):
            shutil.copy(file, self.folder / 'matplotlib')
        if kit:
            shutil.copy(kit, self.kit)
        else:
            with contextlib.redirect_stdout(sys.stderr):    # what it announces must not get into --json
                make_kit(self.kit, datasets.Data(data))

    def lay_out_course_files(self):
        """A small data/ and images/, as the course's scripts expect them beside python/."""
        import scipy.io
        from PIL import Image
        try:
            kit = dict(np.load(self.kit))
            x, labels = kit['x'] / 255.0, kit['labels']
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(f'the kit is no file of grade.py --write-kit ({error})') from None
        data, images = self.folder / 'course' / 'data', self.folder / 'course' / 'images'
        data.mkdir(parents=True)
        images.mkdir()
        each = len(labels) // 36
        place, a, b = np.arange(len(labels)) % each, min(10, each // 2), min(5, each // 4)
        for split, chosen in (('train', place < a), ('valid', (a <= place) & (place < a + b)), ('test', (a + b <= place) & (place < a + 2 * b))):
            scipy.io.savemat(data / f'nist36_{split}.mat', {f'{split}_data': x[chosen], f'{split}_labels': np.eye(36)[labels[chosen]]})
        for i in range(len(PAGES)):
            Image.fromarray(kit[f'page{i}']).save(images / f'0{i + 1}_page.jpg', quality=95)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)


# ---------------------------------------------------------------- grading one submission

def grade(folder, desk, points=None, seconds=WHOLE, only=None):
    """Grade the submission in folder. Returns a dict: submission, score, max, seconds, notes, questions. Raises UserError if there is nothing to grade."""
    started = time.monotonic()
    code = find_code(Path(folder))
    if code is None:
        raise UserError(f'{folder} holds none of {", ".join(FILES[:5])} ...; name the folder of a submission')
    work = Path(tempfile.mkdtemp(prefix='submission_', dir=desk.folder))
    try:
        notes = copy_code(code, work / 'code')
        if not (work / 'code' / 'util.py').exists():
            shutil.copyfile(Path(__file__).with_name('util.py'), work / 'code' / 'util.py')
            notes.append('util.py is not there; the course\'s is used')
        broken, questions = {}, []
        asked = list(only or QUESTIONS)
        for i, question in enumerate(asked):
            kept = seconds / 2 * (len(asked) - i - 1) / len(asked)      # so that endless loops in the first questions leave time for the last
            left = started + seconds - time.monotonic() - kept
            worth = (points or {}).get(question, QUESTIONS[question][0])
            questions.append(ask(question, desk, work, broken, left, worth, max(1, seconds / WHOLE)))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    counted = [q for q in questions if not q['look']]
    return {'submission': Path(folder).resolve().name, 'score': sum(q['score'] for q in counted), 'max': sum(q['max'] for q in counted),
            'holds': all(q['score'] == q['max'] for q in counted), 'seconds': round(time.monotonic() - started, 1), 'notes': notes, 'questions': questions}


def ask(question, desk, work, broken, left, points, slower=1):
    """Run one question's parts in a fresh copy of the submission. broken: {module: why}, modules known to hang on import; gets new ones.

    left is in seconds; slower says how many times its usual time the question may take.
    """
    started = time.monotonic()
    for module in QUESTIONS[question][2]:
        if module in broken:
            return judge(question, points, [], f'{module}.py {broken[module]}, as said above', started)
    if left < 0.5:
        return judge(question, points, [], 'not reached: the time for the whole submission is up', started)
    room = work / question
    shutil.copytree(work / 'code', room / 'python')
    shutil.copytree(desk.folder / 'course', room, dirs_exist_ok=True)
    most = SECONDS.get(question, 5) * slower
    seconds = min(left, most)
    config = {'question': question, 'kit': str(desk.kit), 'matplotlib': str(desk.folder / 'matplotlib')}
    ran = grade_sandbox.run(config, room / 'python', seconds)
    if not (room / 'python').is_dir():
        ran.events.append({'advice': 'deletes its working folder (a copy; the submission is untouched)'})
    shutil.rmtree(room, ignore_errors=True)
    why = None if ran.finished or any('look' in e for e in ran.events) else ending(ran, seconds, most)
    if why and question.startswith('Q5') and ran.stopped == 'time':
        ran.events.append({'look': f'run_q5.py {why} before it could be recognised'})
    for module in QUESTIONS[question][2]:
        begun, done = ({e[key] for e in ran.events if key in e} for key in ('importing', 'imported'))
        if why and module in begun - done:
            broken[module] = f'{why} while it was imported'
    return judge(question, points, ran.events, why, started, ran.output)


def ending(ran, seconds, most):
    """Why a run that had seconds, at most most, ended before its end, as the rest of a sentence."""
    if ran.stopped == 'time' or ran.status == -signal.SIGXCPU:
        less = '; questions before took more of the time' if seconds < most else ''
        return f'was stopped after {seconds:.0f} s (an endless loop, or too slow{less})'
    if ran.stopped:
        return {'output': f'was stopped: it prints more than {grade_sandbox.OUTPUT >> 20} MB',
                'memory': f'was stopped: it uses more than {grade_sandbox.MEMORY >> 30} GB of memory',
                'processes': f'was stopped: it starts more than {grade_sandbox.PROCESSES} processes'}[ran.stopped]
    if ran.status and ran.status < 0:
        return f'died of {signal.Signals(-ran.status).name}'
    return f'ended by itself in the middle, with exit status {ran.status}'


def judge(question, points, events, why, started, output=''):
    """A question's verdict from the events of its run; why: the reason if it ended early."""
    parts = grade_checks.PARTS[question]
    total = sum(weight for _, weight, _ in parts)
    verdicts = {e['end']: e['why'] for e in events if 'end' in e}
    begun = [e['begin'] for e in events if 'begin' in e]
    rows = []
    for name, weight, _ in parts:
        if name in verdicts:
            reason = verdicts[name]
        elif why and (name in begun or not begun):
            reason, why = why, None
        else:
            reason = 'not reached'
        rows.append({'part': name, 'points': points * weight / total, 'holds': reason is None, 'why': reason or ''})
    say = {'network': 'tries to reach the network, which is refused: {}', 'outside': 'tries to change a file outside its folder, which is refused: {}',
           'processes': 'starts more than {} processes; the others are refused', 'advice': '{}'}
    notes = [say[key].format(e[key]) for e in events for key in say if key in e]
    look = next((e['look'] for e in events if 'look' in e), None)
    return {'question': question, 'title': QUESTIONS[question][1], 'max': points, 'score': round(sum(r['points'] for r in rows if r['holds']), 2),
            'look': look, 'parts': [] if look else rows, 'notes': list(dict.fromkeys(notes)), 'printed': output[-1500:],
            'seconds': round(time.monotonic() - started, 2)}


# ---------------------------------------------------------------- the verdict as text, Gradescope's JSON

def number(value):
    """3 for 3.0, 2.5 for 2.5."""
    return f'{value:.2f}'.rstrip('0').rstrip('.')


def clean(text):
    """text without control characters, changes of direction and halves of characters: a student's output must not steer the terminal or stop a report."""
    return re.sub(r'[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]', '?', text)


def as_text(result):
    """The verdict for the terminal."""
    lines = [f'{result["submission"]}']
    for q in result['questions']:
        if q['look']:
            lines.append(f'  {q["question"]:7s}  look at it yourself   {q["title"]}: {q["look"]}')
            continue
        lines.append(f'  {q["question"]:7s} {number(q["score"]):>5s} of {number(q["max"]):3s} {q["title"]}')
        whys = {}
        for p in q['parts']:
            if not p['holds']:
                whys.setdefault(p['why'], []).append(p['part'])
        lines += [f'            - {why if len(names) == len(q["parts"]) else ", ".join(names) + ": " + why}' for why, names in whys.items()]
        lines += [f'            note: {note}' for note in q['notes']]
        if q['score'] < q['max'] and q['question'] in SCRIPTS and q['printed'].strip():
            lines.append(f'            it printed last: {q["printed"].strip().splitlines()[-1][:200]}')
    lines += [f'  note: {note}' for note in result['notes']]
    lines.append(f'  for human eyes, not graded here: {", ".join(f"{q} ({what})" for q, what in FOR_EYES.items())}')
    lines.append(f'  {number(result["score"])} of {number(result["max"])} points in {result["seconds"]:.0f} s')
    return '\n'.join(textwrap.fill(clean(line), 120, subsequent_indent=' ' * 14, break_on_hyphens=False) for line in lines)


def question_output(q):
    """What Gradescope shows below a question."""
    if q['look']:
        return clean(f'A person will look at this: {q["look"]}')
    lines = [f'{"ok  " if p["holds"] else "FAIL"} {p["part"]} ({number(p["points"])}){": " + p["why"] if p["why"] else ""}' for p in q['parts']]
    return clean('\n'.join(lines + [f'note: {note}' for note in q['notes']]))


def as_gradescope(result):
    """The verdict as Gradescope's autograder reads it."""
    tests = [{'name': f'{q["question"]} {q["title"]}', 'number': q['question'][1:], 'score': 0 if q['look'] else q['score'],
              'max_score': 0 if q['look'] else q['max'], 'output': question_output(q), 'visibility': 'visible'} for q in result['questions']]
    tests += [{'name': f'{q} {what}', 'number': q[1:].split(',')[0], 'score': 0, 'max_score': 0, 'output': 'Graded by a person.', 'visibility': 'visible'}
              for q, what in FOR_EYES.items()]
    return {'score': result['score'], 'execution_time': round(result['seconds']), 'output': clean('\n'.join(result['notes'])), 'visibility': 'visible',
            'stdout_visibility': 'hidden', 'tests': tests}


# ---------------------------------------------------------------- many submissions

def submissions(folder):
    """The submissions in folder: its folders and .zip files."""
    if not folder.is_dir():
        raise UserError(f'{folder} is not a folder')
    found = sorted(p for p in folder.iterdir() if not p.name.startswith('.') and (p.is_dir() or p.suffix.lower() == '.zip'))
    if not found:
        raise UserError(f'{folder} holds no folders and no .zip files to grade')
    return found


def grade_one_of_many(path, desk, **kwargs):
    """grade() for --all: whatever is wrong with one submission becomes its verdict, never an exception."""
    try:
        with tempfile.TemporaryDirectory(dir=desk.folder) as tmp:
            result = grade(unpack(path, Path(tmp)) if path.is_file() else path, desk, **kwargs)
            return {**result, 'submission': path.name}
    except UserError as error:
        points = kwargs.get('points') or {}
        questions = [judge(q, points.get(q, QUESTIONS[q][0]), [], 'nothing to grade', time.monotonic()) for q in kwargs.get('only') or QUESTIONS]
        return {'submission': path.name, 'score': 0, 'max': sum(q['max'] for q in questions), 'holds': False, 'seconds': 0.0, 'notes': [str(error)],
                'questions': questions}


def grade_all(folder, desk, jobs, **kwargs):
    """Grade every submission in folder, jobs side by side, with a line for each as it is done. Returns their verdicts in order."""
    paths = submissions(folder)
    started, done = time.monotonic(), 0

    def one(path):
        nonlocal done
        result = grade_one_of_many(path, desk, **kwargs)
        done += 1
        left = (time.monotonic() - started) / done * (len(paths) - done)
        print(clean(f'[{done}/{len(paths)}] {result["submission"]}: {number(result["score"])} of {number(result["max"])}, '
                    f'{result["seconds"]:.0f} s; {left:.0f} s left'), flush=True)
        return result
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(one, paths))
        except BaseException:       # Ctrl-C too: the threads must not go on to their end
            grade_sandbox.interrupted.set()
            raise


def write_csv(path, results):
    """A row for each submission: the total, then the score of each question ('look' where a person has to)."""
    with writing(path) as part, open(part, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        names = [q['question'] for q in results[0]['questions']]
        table.writerow(['submission', 'score', 'max', *names, 'seconds', 'notes'])
        for r in results:
            # a leading = + - @ would be a formula to a spreadsheet
            safe = [re.sub(r'^([=+\-@\t\r])', r"'\1", clean(text)) for text in (r['submission'], '; '.join(r['notes']))]
            table.writerow([safe[0], number(r['score']), number(r['max']), *('look' if q['look'] else number(q['score']) for q in r['questions']),
                            r['seconds'], safe[1]])


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Grades</title>
<style>
body { font: 16px/1.45 system-ui, sans-serif; margin: 1rem auto; max-width: 78rem; padding: 0 .8rem; color: #1a1a1a; background: #fff }
.scroll { overflow-x: auto; border: 1px solid #ccc; border-radius: 6px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%% }
th, td { padding: .35rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e4e4e4 }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; max-width: min(40vw, 12rem);
  overflow: hidden; text-overflow: ellipsis }
th button { font: inherit; font-weight: 600; border: 0; background: none; cursor: pointer; padding: .3rem 0; color: inherit; text-align: inherit }
th small { font-weight: 400 }
th[aria-sort=ascending] button::after { content: " \\2191" } th[aria-sort=descending] button::after { content: " \\2193" }
.full { color: #0a6b2d } .part { color: #8a5a00 } .none { color: #b00020 }
details { border: 1px solid #ccc; border-radius: 6px; margin: .6rem 0; padding: .5rem .7rem } summary { cursor: pointer; overflow-wrap: anywhere }
h3 { font-size: 1rem; margin: .8rem 0 .2rem } ul { margin: .2rem 0; padding-left: 1.2rem } li, p { overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: .5rem; font-size: .85rem; max-height: 20rem; overflow: auto }
</style></head><body>
<h1>Grades</h1>
<p>%(count)d submissions, %(date)s. Touch a column's name to sort by it. Not graded here, for human eyes: %(eyes)s.</p>
<div class="scroll"><table id="grades"><thead><tr>%(head)s</tr></thead><tbody>
%(rows)s
</tbody></table></div>
<h2>Submissions</h2>
%(details)s
<script>
const table = document.getElementById('grades');
table.querySelectorAll('th').forEach((th, column) => th.querySelector('button').addEventListener('click', () => {
  const up = th.getAttribute('aria-sort') !== 'ascending', key = row => row.cells[column].dataset.sort;
  const compare = column ? (a, b) => key(a) - key(b) : (a, b) => key(a).localeCompare(key(b), undefined, {numeric: true});
  table.querySelectorAll('th').forEach(other => other.removeAttribute('aria-sort'));
  th.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => up ? compare(a, b) : compare(b, a)));
}));
table.addEventListener('click', event => {
  const target = event.target.closest('a') && document.querySelector(event.target.closest('a').getAttribute('href'));
  if (target) target.open = true;
});
</script></body></html>
"""


def escaped(text):
    """text for HTML: what comes from students is shown, never obeyed."""
    return html.escape(clean(str(text)))


def as_html(results):
    """The report: a table that sorts by any column, then each submission's details."""
    def cell(score, most):
        shade = 'full' if score == most else 'part' if score else 'none'
        return f'<td data-sort="{score}" class="{shade}">{number(score)}</td>'
    names = [(q['question'], q['max']) for q in results[0]['questions']]
    columns = [('submission', None), ('total', max(r['max'] for r in results)), *names, ('seconds', None)]
    head = ''.join(f'<th scope="col"><button type="button">{label}{"" if most is None else f"<br><small>of {number(most)}</small>"}</button></th>'
                   for label, most in columns)
    rows, details = [], []
    for i, r in enumerate(results):
        scores = ''.join('<td data-sort="-1">look</td>' if q['look'] else cell(q['score'], q['max']) for q in r['questions'])
        name = escaped(r['submission'])
        rows.append(f'<tr><td data-sort="{name}"><a href="#s{i}">{name}</a></td>{cell(r["score"], r["max"])}{scores}'
                    f'<td data-sort="{r["seconds"]}">{r["seconds"]:.0f}</td></tr>')
        body = ''.join(f'<p>note: {escaped(note)}</p>' for note in r['notes']) + ''.join(map(question_html, r['questions']))
        details.append(f'<details id="s{i}"><summary><b>{name}</b>: {number(r["score"])} of {number(r["max"])}</summary>{body}</details>')
    eyes = '; '.join(f'{q} {what}' for q, what in FOR_EYES.items())
    return PAGE % {'count': len(results), 'date': time.strftime('%Y-%m-%d %H:%M'), 'eyes': escaped(eyes), 'head': head, 'rows': '\n'.join(rows),
                   'details': '\n'.join(details)}


def question_html(q):
    """One question of one submission."""
    score = 'look at it yourself' if q['look'] else f'{number(q["score"])} of {number(q["max"])}'
    items = [f'<li class="none">{escaped(p["part"])} ({number(p["points"])}): {escaped(p["why"])}</li>' for p in q['parts'] if not p['holds']]
    items += [f'<li>note: {escaped(note)}</li>' for note in ([q['look']] if q['look'] else []) + q['notes']]
    held = [p['part'] for p in q['parts'] if p['holds']]
    items += [f'<li class="full">holds: {escaped("; ".join(held))}</li>'] if held else []
    printed = f'<details><summary>the end of what it printed</summary><pre>{escaped(q["printed"])}</pre></details>' if q['printed'].strip() else ''
    return f'<h3>{q["question"]} {escaped(q["title"])}: {score}</h3><ul>{"".join(items)}</ul>{printed}'


# ---------------------------------------------------------------- the command

def read_points(path):
    """{question: points} from a JSON file. Raises UserError if it is not that."""
    try:
        points = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read as JSON ({error})') from None
    wrong = [k for k, v in points.items() if k not in QUESTIONS or isinstance(v, bool) or not isinstance(v, (int, float)) or not v >= 0] \
        if isinstance(points, dict) else ['']
    if wrong:
        raise UserError(f'{path}: "{wrong[0]}" is not one of {", ".join(QUESTIONS)} with a number of points')
    return points


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.strip(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?', metavar='DIR', help='the submission')
    parser.add_argument('--all', metavar='FOLDER', help='grade every submission in FOLDER')
    parser.add_argument('--jobs', type=int, default=2, metavar='N', help='with --all: submissions side by side (default 2)')
    parser.add_argument('--out', metavar='DIR', help='where grades.csv and report.html, or results.json, go (default: the current folder; '
                                                     'with --gradescope /autograder/results if it exists)')
    parser.add_argument('--json', action='store_true', help='print the verdict as JSON')
    parser.add_argument('--gradescope', action='store_true', help="write results.json in Gradescope's autograder format")
    parser.add_argument('--only', nargs='+', metavar='Q', choices=list(QUESTIONS), help='grade these questions only, e.g. --only Q2.2.1 Q2.3.1')
    parser.add_argument('--points', metavar='FILE', help='points that differ from the handout, as JSON: {"Q2.4.1": 6}')
    parser.add_argument('--seconds', type=float, default=WHOLE, metavar='S',
                        help=f'most time for one submission (default {WHOLE}); more, for a slow machine, lets each question take longer')
    parser.add_argument('--data', metavar='DIR', help='where NIST36 lies, to validate q3_weights.pickle with (default: $NN_DATA, else data/, else built-in)')
    parser.add_argument('--kit', metavar='FILE', help='ask with the pages and characters of FILE, made by --write-kit')
    parser.add_argument('--write-kit', metavar='FILE', help='write the pages and characters that submissions are asked with, for another machine; then stop')
    args = parser.parse_args(argv)
    if (args.folder is not None) + (args.all is not None) + (args.write_kit is not None) != 1:
        parser.error('name one submission DIR, or --all FOLDER')
    if args.all and (args.json or args.gradescope):
        parser.error('--json and --gradescope are for one submission')
    if args.jobs < 1 or not args.seconds > 0:
        parser.error('--jobs and --seconds must be positive')
    return args


def main(argv=None):
    """Do what the command line says; returns the exit status."""
    args = parse(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:      # as under nohup
            signal.signal(number, lambda number, _: sys.exit(128 + number))      # leaves through every finally: nothing stays running
    if args.write_kit:
        make_kit(Path(args.write_kit), datasets.Data(args.data))
        return 0
    asked = {'points': read_points(args.points) if args.points else None, 'seconds': args.seconds, 'only': args.only}
    out = Path(args.out or '.')
    if args.all:
        submissions(Path(args.all))     # a wrong name is said before anything is made
        with Desk(args.kit, args.data) as desk:
            results = grade_all(Path(args.all), desk, args.jobs, **asked)
        write_csv(out / 'grades.csv', results)
        with writing(out / 'report.html') as part:
            part.write_text(as_html(results), encoding='utf-8')
        print(f'{len(results)} submissions: {out / "grades.csv"}, {out / "report.html"}')
        return 0 if all(r['holds'] for r in results) else 1
    if not Path(args.folder).is_dir():
        raise UserError(f'{args.folder} is not a folder')
    with Desk(args.kit, args.data) as desk:
        result = grade(args.folder, desk, **asked)
    print(json.dumps(experiment.plain(result), indent=1) if args.json else as_text(result))
    if args.gradescope:
        if not args.out and Path('/autograder/results').is_dir():
            out = Path('/autograder/results')
        with writing(out / 'results.json') as part:
            part.write_text(json.dumps(experiment.plain(as_gradescope(result)), indent=1) + '\n')
    return 0 if result['holds'] else 1


if __name__ == '__main__':
    experiment.script(lambda: sys.exit(main()))
