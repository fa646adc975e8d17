"""The writeup: it can be set whatever the runs have left, shows every number of theirs, and holds none that was typed in."""
import copy, html, json, re, subprocess, sys
from pathlib import Path

import numpy as np
import pytest

typst = pytest.importorskip('typst')

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / 'scripts'))
import build_writeup  # noqa: E402

SOURCES = [TOP / 'writeup/writeup.typ', *sorted((TOP / 'writeup/sections').glob('*.typ'))]


# ---------------------------------------------------------------- plausible results, small

def network(test, **more):
    return {'train_accuracy': test + 0.05, 'valid_accuracy': test + 0.011, 'test_accuracy': test, 'epochs': 12, 'parameters': 45678, **more}


def photo(lines, edits):
    return {'lines': lines, 'boxes': 13, 'seconds': 0.21, 'characters': 13, 'edits': edits, 'lines_exact': len(lines)}


def plausible():
    """{question: results} as the scripts write them, every number different from the others of its kind."""
    origin = {'data': 'built-in handwriting', 'data_sets': {'NIST36': 'built-in handwriting'}, 'seed': 3, 'seconds': 12.3, 'quick': True,
              'versions': {'python': '3.12.1', 'numpy': '2.1.0'}}
    rate = [0.003, 0.03, 0.0003]
    stack = {name: [10.0 ** (i - 9) for i in range(10)] for name in ('sigmoid', 'tanh', 'relu')}
    spread = {name: [0.5] * 10 for name in ('zero', 'small', 'Xavier', 'large')}
    own = {
        'theory': {'depth': 10, 'width': 64, 'gradient_norms': stack, 'gradient_per_layer': {'sigmoid': 0.231, 'tanh': 0.87, 'relu': 0.71},
                   'spread_activations': spread, 'spread_gradients': spread,
                   'from_zeros': {'tanh zeros': {'accuracy': 0.2517, 'loss': 55.43, 'different_units': 1, 'moved': False}}},
        'q2': {'loss': 29.87, 'accuracy': 0.8123, 'gradient_error': 6.7e-6, 'checks_failed': 0},
        'q3': {'plain': [{'learning_rate': r, **network(0.7 + i / 77)} for i, r in enumerate(rate)], 'best': network(0.8817, seconds=200),
               'confused': [['0', 'O', 19], ['I', '1', 17], ['Q', 'V', 3]]},
        'q4': {'photos': {'01_list.jpg': photo(['TO DO LIST'], 2), '02_letters.jpg': photo(['A B C'], 1), '03_haiku.jpg': photo(['HAIKU'], 0),
                          '04_deep.jpg': photo(['DEEP'], 4)}, 'characters': 246, 'edits': 7, 'lines_exact': 16, 'lines': 19},
        'q5': {'course': {'psnr_valid': 15.63, 'loss_train': [90.0, 50.0, 40.0] + [30.0 - i / 10 for i in range(97)]}, 'best': {'psnr_valid': 18.86}},
        'q6': {'psnr_valid': 17.12, 'projection_shape': [1024, 32], 'rank': 32},
        'q7_1': {'fully_connected': network(0.7719, largest_loss_difference=3.4e-12), 'mnist': network(0.9963), 'nist36': network(0.9517),
                 'emnist': network(0.9031), 'photos': {'01_list.jpg': photo(['TO DO LIST'], 0)}},
        'q7_2': {'fine_tuned': network(0.9427, parameters_trained=8721), 'from_scratch': network(0.8039, parameters_trained=1234567), 'weights': 'torchvision'},
    }
    return {question: {**origin, 'question': question, **results} for question, results in own.items()}


def full():
    """plausible(), and what only some runs leave."""
    results = plausible()
    results['q3']['best'] |= {'teacher_epochs': 150, 'teacher_valid_accuracy': 0.9111}
    results['q5']['course'] |= {'dead_units': [7, 9], 'psnr_seeds': [15.3, 15.9], 'seconds': 21, 'epochs': 100}
    results['q6'] |= {'autoencoder_psnr': 18.86, 'fit_seconds': 2.1, 'memory_mb': 431}
    results['q7_1']['readers'] = {'both networks': {'characters': 246, 'edits': 2, 'lines_exact': 17, 'lines_true': 19}}
    took = {'ours': 0.31, 'course': 0.52, 'sklearn': 0.47, 'limit': 0.123}
    setting = {'batch_size': 50, 'hidden': 64, 'seconds': took, 'threads': dict.fromkeys(took, 2)}
    results['benchmark'] = {'quick': True, 'training': {'rows': 10800, 'settings': {'float32': setting}}}
    for result in results.values():
        result['data_sets'] = {'NIST36': 'data/nist36', 'built-in NIST36': 'built-in handwriting', 'photos': '01_list.jpg'}
    return results


def wanted_figures():
    """Names of all figures that the sections ask for by name."""
    return sorted(set(re.findall(r'picture\("(\w+)"', ''.join(path.read_text() for path in SOURCES))))


@pytest.fixture
def out(tmp_path):
    """A folder as the runs leave it: results and (one-pixel) figures."""
    from PIL import Image
    for question, results in plausible().items():
        write(tmp_path, question, results)
    for question in ('q3', 'q4'):
        write(tmp_path / 'trained_on_builtin', question, plausible()[question])
    (tmp_path / 'figures').mkdir()
    for name in [*wanted_figures(), 'q4_boxes_01_list', 'q4_fails_touching', 'q4_fails_parts']:
        Image.new('RGB', (2, 2)).save(tmp_path / 'figures' / f'{name}.png')
    return tmp_path


def write(folder, question, results):
    (folder / 'results').mkdir(parents=True, exist_ok=True)
    (folder / 'results' / f'{question}.json').write_text(json.dumps(results))


def text_of(out):
    """The words of the document, without its layout. Typst's HTML leaves out grids, so they are taken apart first."""
    whole = out / 'whole.typ'
    whole.write_text('#show grid: it => for cell in it.children { if cell.func() == grid.cell { cell.body } else { cell } }\n'
                     f'#include "{(TOP / "writeup/writeup.typ").as_posix()}"\n')
    content = typst.compile(str(whole), root='/', format='html', sys_inputs=build_writeup.gather(out)).decode()
    content = re.sub(r'<(style|svg|script).*?</\1>', ' ', content, flags=re.S)
    return ' '.join(html.unescape(re.sub(r'<[^>]*>', ' ', content)).replace('\u2009', ' ').split())


def assert_pdf(out):
    pdf = build_writeup.set_document(out)
    assert pdf.startswith(b'%PDF') and len(pdf) > 20_000


# ---------------------------------------------------------------- what there is, and what there is not

def test_without_any_results(tmp_path):
    assert_pdf(tmp_path)
    text = text_of(tmp_path)
    for question in plausible():
        assert f'not run yet: python python/run_{question}.py' in text
    assert 'not run yet: python python/run_q3.py --train-on builtin --out writeup/trained_on_builtin' in text
    assert 'else if' not in text


def test_with_everything(out):
    assert_pdf(out)
    text = text_of(out)
    assert 'not run yet' not in text and 'else if' not in text
    for shown in ('29.9', '81.2 %', '88.2 %', '246', '15.63 dB', '18.86 dB', '17.12 dB', '33 792', '68 704', '77.2 %', '99.63 %', '95.2 %', '90.3 %',
                  '94.3 %', '80.4 %', '1 234 567', 'TO DO LIST', 'built-in handwriting', 'quick run', '0.0003'):
        assert shown in text, shown
    assert '0 and O are the same closed oval' in text
    assert 'Edits on the four photos, 64-unit network 44 7' in text


def test_every_result_is_shown_and_none_is_made_up(out):
    """Change one number at a time: the text must change with it."""
    before, everything = text_of(out), plausible()
    for dotted in ('q2.loss q2.accuracy q2.gradient_error q3.best.test_accuracy q3.best.epochs q4.edits q4.characters q5.course.psnr_valid q5.best.psnr_valid '
                   'q6.psnr_valid q6.rank q7_1.mnist.test_accuracy q7_1.nist36.parameters q7_1.emnist.epochs q7_2.fine_tuned.test_accuracy '
                   'q7_2.from_scratch.parameters_trained theory.gradient_per_layer.tanh').split():
        question, *path = dotted.split('.')
        results = copy.deepcopy(everything[question])
        *above, last = path
        holder = results
        for key in above:
            holder = holder[key]
        holder[last] = holder[last] * 0.5
        write(out, question, results)
        assert text_of(out) != before, (question, path)
        write(out, question, everything[question])
    assert text_of(out) == before


def test_comments_follow_the_results(out):
    results = plausible()
    results['q5']['best']['psnr_valid'] = 16.6
    results['q7_2']['fine_tuned']['test_accuracy'] = 0.5
    text = text_of(out)
    assert 'overtakes PCA by 1.74 dB' in text and 'Fine-tuning is ahead' in text
    for question in ('q5', 'q7_2'):
        write(out, question, results[question])
    text = text_of(out)
    assert 'overtakes PCA' not in text and 'comes to within 0.52 dB' in text
    assert 'the network from scratch is ahead' in text
    results['q5']['course']['psnr_seeds'] = [15.63, 17.38]
    write(out, 'q5', results['q5'])
    assert 'the luckiest seed of question 5 comes to 17.38 dB' in text_of(out)


def test_text_says_only_what_the_run_did(out):
    """A teacher, dead units, an autoencoder beside PCA, added characters and a benchmark are told of where the results have them."""
    told = ('it learns from a teacher', '91.1 % on validation', 'its teacher included', 'ReLU units die', '7 to 9 of the 96', 'has cleaner backgrounds',
            'those of the built-in handwriting were added', 'One epoch of 10 800 pictures, batches of 50, 64 hidden units', "plain loop, on nn.py 0.52 s 2")
    text = text_of(out)
    assert [sentence for sentence in told if sentence in text] == []
    for question, results in full().items():
        write(out, question, results)
    text = text_of(out)
    assert [sentence for sentence in told if sentence not in text] == []


def test_the_title_page_tells_added_characters_from_missing_data(out):
    missing = 'the real data was not on the machine'
    assert missing in text_of(out)
    for question, results in full().items():
        write(out, question, results)
    assert missing not in text_of(out)


# ---------------------------------------------------------------- odd values

ODD = {
    'null': None, 'text': 'x_1 *#$ \\ "', 'long text': 'wörd ' * 1000, 'empty text': '', 'true': True, 'zero': 0, 'minus': -7, 'huge': 1e308, 'tiny': 5e-324,
    'integer': 10**30, 'nan': float('nan'), 'infinity': float('inf'), 'list': [], 'long list': list(range(1000)), 'texts': ['a', None, 3] * 200,
    'nested': [[[]], {}, [{'a': [1]}]], 'dict': {}, 'odd dict': {'': None, 'a b': [1], 'c': {'lines': 'text', 'edits': {}}},
    'rows': [['A', 'B'], [1, 2, 3], ['A', 'B', None], ['A', 'B', 5]],
}


def replace(value, odd, depth):
    """value with everything at that depth (-1: every leaf) replaced by odd."""
    if depth == 0 or not isinstance(value, (dict, list)):
        return odd if depth <= 0 else value
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    new = {key: replace(item, odd, depth - 1) for key, item in pairs}
    return new if isinstance(value, dict) else list(new.values())


@pytest.mark.parametrize('odd', ODD)
def test_odd_values_anywhere(out, odd):
    for depth in (1, 2, 3, -1):
        for question, results in full().items():
            write(out, question, replace(results, ODD[odd], depth))
        assert_pdf(out)


def test_missing_keys(out):
    """Every key, at any depth, left out in turn: a third at a time, in random threes."""
    rng = np.random.default_rng(0)

    def thinned(value):
        if isinstance(value, dict):
            return {key: thinned(item) for key, item in value.items() if rng.random() < 0.67}
        return [thinned(item) for item in value if rng.random() < 0.67] if isinstance(value, list) else value
    for _ in range(6):
        for question, results in full().items():
            write(out, question, thinned(results))
        assert_pdf(out)


def test_numbers_as_text(tmp_path):
    """The formats of common.typ, by hand."""
    source = tmp_path / 'numbers.typ'
    cases = {
        'percent(0.8817)': '88.2 %', 'percent(1)': '100.0 %', 'percent(none)': '–', 'percent("0.5")': '–', 'decibel(17.1)': '17.10 dB',
        'fixed(-0.5, 0)': '−1', 'fixed(2, 2)': '2.00', 'fixed(1.005, 1)': '1.0', 'whole(1234567)': '1 234 567', 'whole(-1000)': '−1 000', 'whole(12)': '12',
        'whole(2.6)': '3', 'short(0.0003)': '0.0003', 'short(true)': '–', 'seconds(0.214)': '0.21 s', 'seconds(200)': '3.3 min', 'seconds(none)': '–',
        'scientific(0)': '0', 'words("abcdef", limit: 3)': 'abc…', 'words(3)': '–',
    }
    source.write_text(f'#import "{(TOP / "writeup/sections/common.typ").as_posix()}": *\n' + '\n\n'.join(f'[#{case}]' for case in cases))
    content = typst.compile(str(source), root='/', format='html').decode().replace('\u2009', ' ')
    found = [html.unescape(re.sub(r'<[^>]*>', '', p)).strip() for p in re.findall(r'<p>(.*?)</p>', content, flags=re.S)]
    assert found == [f'[{shown}]' for shown in cases.values()]


# ---------------------------------------------------------------- no number typed by hand

ASKED = {'75 %', '6 dB', '1.1', '0.18', '709.8'}     # of the handout, a version, or mathematics


def typed_numbers(source):
    """Decimals and amounts with a unit in the prose of a typst source: what should have come from a result."""
    for pattern in (r'(?m)^\s*//.*$', r'\$[^$]*\$', r'`[^`]*`', r'"[^"\n]*"', r'\bQ\d[\d.]*', r'Q?\d(\.\d)+(?= to Q)|question \d[\d.]*\d'):
        source = re.sub(pattern, ' ', source)
    source = re.sub(r'-?\d+(\.\d+)?(cm|pt|em|fr|%)', ' ', source)        # lengths of the layout
    return {found.group().strip() for found in re.finditer(r'\d+(\.\d+)?\s+(%|dB|edits|seconds|minutes|epochs)(?!\w)|(?<![\w.])\d+\.\d+', source)} - ASKED


@pytest.mark.parametrize('path', [path for path in SOURCES if path.stem != 'common'], ids=lambda path: path.stem)
def test_no_result_is_typed_by_hand(path):
    source = re.sub(r'[\d.]+ [*/-] (?=\w)|(?<=[*/]) [\d.]+', '', path.read_text())     # factors in code
    assert typed_numbers(source) <= ({'20 epochs'} if path.stem == 'q5' else set())


def test_the_check_for_typed_numbers_finds_them():
    prose = 'The network reaches 88.3 % on the test set (#percent(x)) in 12 seconds, at 17.11 dB and a loss of 0.31, as `0.5` and $0.25$ in Q1.4.'
    assert typed_numbers(prose) == {'88.3 %', '12 seconds', '17.11 dB', '0.31'}


# ---------------------------------------------------------------- the command

def run(*arguments, cwd):
    return subprocess.run([sys.executable, TOP / 'scripts/build_writeup.py', *map(str, arguments)], cwd=cwd, capture_output=True, text=True)


def test_the_command_writes_the_pdf_and_says_where(out, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp('else where')
    done = run('--out', out, '--author', 'Ann "A" #Example', cwd=elsewhere)
    assert (done.returncode, done.stderr) == (0, '') and done.stdout.strip() == f'writeup: {out / "writeup.pdf"}'
    assert (out / 'writeup.pdf').read_bytes().startswith(b'%PDF') and not list(out.glob('*.part'))


@pytest.mark.parametrize('broken, says', [
    (lambda out: (out / 'results/q3.json').write_text('{"plain": [1,'), 'q3.json cannot be read as JSON'),
    (lambda out: (out / 'results/q3.json').write_text('[1]'), 'q3.json does not hold the results of a run'),
    (lambda out: (out / 'results/q3.json').write_bytes(b'\xff\xfe\x00'), 'q3.json cannot be read as JSON'),
    (lambda out: (out / 'figures/q3_loss.png').write_bytes(b'\x89PNG\r\n\x1a\n half'), 'q3_loss.png is not a whole PNG file'),
])
def test_broken_files_are_named_in_one_line(out, broken, says):
    broken(out)
    done = run('--out', out, cwd=out)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count('\n') == 1
    assert not (out / 'writeup.pdf').exists()


def test_a_missing_folder_is_refused(tmp_path):
    done = run('--out', tmp_path / 'nowhere', cwd=tmp_path)
    assert done.returncode == 2 and 'does not exist' in done.stderr and done.stderr.count('\n') == 1


def test_the_wrapper_works_from_any_folder(tmp_path):
    if not (TOP / '.venv/bin/python').exists():
        pytest.skip('no .venv; scripts/test.sh makes it')
    done = subprocess.run(['bash', TOP / 'scripts/build_writeup.sh', '--out', '.'], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / 'writeup.pdf').exists(), done.stderr
