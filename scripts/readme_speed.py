"""Writes the README's section on speed from the results of python/benchmark.py.

    python scripts/readme_speed.py                            writeup/results/benchmark.json -> README.md
    python scripts/readme_speed.py RESULTS.json README.md     other files

What stands between the heading "### Speed" and the next heading is replaced; run it after a benchmark on a machine that has nothing else to do.
"""
import json, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'python'))
import datasets
from benchmark import NAMES
from experiment import UserError, script, writing

HEADING = '### Speed\n'


def training_table(training):
    """Markdown rows, one a setting, and a sentence that says where a peer is faster."""
    lines = ['| type, batch, hidden units | this project | the course\'s loop on `nn.py` | scikit-learn | PyTorch '
             '| ours / fastest peer | course\'s / fastest peer | of the matrix-product limit |', '| --- | --- | --- | --- | --- | --- | --- | --- |']
    lost = []
    for one in training['settings'].values():
        setting = f'{one["dtype"]}, {one["batch_size"]}, {one["hidden"]}'
        times = [f'{1000 * one["seconds"][name]:.0f} ms' for name in ('ours', 'course', 'sklearn', 'torch')]
        lines.append('| ' + ' | '.join([setting, *times, f'{one["to_fastest_peer"]:.2f}', f'{one["course_to_fastest_peer"]:.2f}',
                                        f'{one["share_of_limit"]:.0%}']) + ' |')
        if one['to_fastest_peer'] > 1:
            lost.append(f'{NAMES[one["fastest_peer"]]} at {setting}')
    return lines + ['', f'A peer is faster here: {"; ".join(lost)}.' if lost else 'No peer is faster in any of these.']


def growth(part):
    """How time and memory grow."""
    rows = ', '.join(f'{int(n):,}' for n in part['rows'])
    each = ', '.join(f'{1e6 * r["seconds"] / int(n):.1f}' for n, r in part['rows'].items())
    beyond = max(r['beyond_mb'] for r in part['rows'].values())
    sizes = ', '.join(f'{r["seconds"]:.2f} s for {m}' for m, r in part['megapixels'].items())
    two = part['processes']['networks']['CharacterNet']['speedup']['2']
    return (f'* Growth: {each} microseconds a row for {rows} rows in a mapped file, at most {beyond:.0f} MB beyond the data; findLetters {sizes} megapixels; '
            f'two processes on a core each would train the convolutional network {two:.1f} times as fast as one, by estimate.')


def reading(part, version):
    """Whole pages, beside Tesseract if that was there."""
    seconds, edits = part['seconds'], part['edits']
    readers = [f'this project {seconds["ours"]:.1f} s (findLetters alone {seconds["findLetters"]:.1f} s) and {edits["ours"]} edits']
    if 'tesseract' in edits:
        readers.append(f'Tesseract {version} {seconds["tesseract"]:.1f} s and {edits["tesseract"]} edits (it was made for print)')
    return f'* Reading {len(part["photos"])} pages, {part["characters"]} characters: {"; ".join(readers)}.'


def augmentation(rate):
    """Characters a second."""
    return f'* Augmentation: {"; ".join(f"{NAMES[name]} {each:,.0f}" for name, each in rate.items())} characters a second.'


def startup(scripts):
    """What --help takes."""
    first, slowest = scripts['run_q2.py'], max(scripts, key=lambda name: scripts[name]['seconds'])
    return (f'* Start-up: `run_q2.py --help` takes {first["seconds"]:.2f} s and {first["modules"]} modules, the slowest script, `{slowest}`, '
            f'{scripts[slowest]["seconds"]:.1f} s; questions 2 to 6 never import torch.')


def section(record):
    """The whole section, without its heading."""
    machine, training = record['machine'], record['training']
    peers = ', '.join(f'{name} {version}' for name, version in machine['peers'].items() if name in ('scikit-learn', 'torch'))
    intro = ('`python python/benchmark.py` measures it (after `bash scripts/test.sh`, which installs what it compares with), and `scripts/readme_speed.py` '
             f'writes it here. One epoch of {training["rows"]:,} pictures, medians of up to {training["repetitions"]} rounds in turns, each with the '
             f'number of threads that suits it best; {machine["cores"]} cores of {machine["processor"]}, {peers}:')
    parts = [growth(record['growth']), reading(record['reading'], machine['peers']['tesseract']), augmentation(record['augmentation']['per_second']),
             startup(record['startup']['scripts'])]
    return '\n'.join(['', intro, '', *training_table(training), '', *parts, '', ''])


def main(results=datasets.TOP / 'writeup' / 'results' / 'benchmark.json', readme=datasets.TOP / 'README.md'):
    try:
        text = section(json.loads(Path(results).read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{results}: not the results of a whole benchmark ({type(error).__name__}: {error}); run python/benchmark.py without --only') from None
    before, heading, rest = Path(readme).read_text().partition(HEADING)
    if not heading or '\n## ' not in rest:
        raise UserError(f'{readme}: has no section "{HEADING.strip()}" that another follows')
    with writing(readme) as part:
        part.write_text(before + heading + text + rest[rest.index('\n## ') + 1:])


if __name__ == '__main__':
    script(lambda: main(*sys.argv[1:3]))
