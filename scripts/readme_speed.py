"""Writes the README's section on speed from the results of python/benchmark.py.

    python scripts/readme_speed.py                            writeup/results/benchmark.json -> README.md
    python scripts/readme_speed.py RESULTS.json README.md     other files

What stands between the heading "### Speed" and the next heading is replaced; run it after a benchmark on a machine that has nothing else to do.
"""
import json, sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'python'))
import datasets
from experiment import UserError, script, writing

HEADING = '### Speed\n'
NAMES = {'sklearn': 'scikit-learn', 'torch': 'PyTorch'}


def training_table(training):
    """Markdown rows, one a setting, and a sentence that says where a peer is faster."""
    lines = ['| type, batch, hidden units | this project | the course\'s loop on `nn.py` | scikit-learn | PyTorch | ours / fastest peer | course\'s / fastest peer '
             '| of the matrix-product limit |', '| --- | --- | --- | --- | --- | --- | --- | --- |']
    lost = []
    for one in training['settings'].values():
        setting = f'{one["dtype"]}, {one["batch_size"]}, {one["hidden"]}'
        times = [f'{1000 * one["seconds"][name]:.0f} ms' for name in ('ours', 'course', 'sklearn', 'torch')]
        lines.append('| ' + ' | '.join([setting, *times, f'{one["to_fastest_peer"]:.2f}', f'{one["course_to_fastest_peer"]:.2f}',
                                        f'{one["share_of_limit"]:.0%}']) + ' |')
        if one['to_fastest_peer'] > 1:
            lost.append(f'{NAMES[one["fastest_peer"]]} at {setting}')
    return lines + ['', f'A peer is faster here: {"; ".join(lost)}.' if lost else 'No peer is faster in any of these.']


def other_parts(record):
    """A list item for each of the other sections."""
    growth, reading, startup = (record[part] for part in ('growth', 'reading', 'startup'))
    rows = ', '.join(f'{1e6 * r["seconds"] / int(n):.1f}' for n, r in growth['rows'].items())
    beyond = max(r['beyond_mb'] for r in growth['rows'].values())
    sizes = ', '.join(f'{r["seconds"]:.2f} s for {m}' for m, r in growth['megapixels'].items())
    network = growth['processes']['networks']['CharacterNet']
    read = [f'this project {reading["seconds"]["ours"]:.1f} s (findLetters alone {reading["seconds"]["findLetters"]:.1f} s) and {reading["edits"]["ours"]} edits']
    if 'tesseract' in reading['edits']:
        read.append(f'Tesseract {record["machine"]["peers"]["tesseract"]} {reading["seconds"]["tesseract"]:.1f} s and {reading["edits"]["tesseract"]} edits')
    rate = record['augmentation']['per_second']
    peers = ', '.join(f'{label} {rate[name]:,.0f}' for name, label in (('scipy_affine', 'scipy, picture by picture'), ('torchvision_affine', 'torchvision, affine'),
                                                                         ('torchvision_elastic', 'torchvision, elastic too')) if name in rate)
    slowest = max(startup['scripts'].items(), key=lambda item: item[1]['seconds'])
    first = startup['scripts']['run_q2.py']
    return [
        f'* Growth: {rows} microseconds a row for {", ".join(f"{int(n):,}" for n in growth["rows"])} rows in a mapped file, at most {beyond:.0f} MB beyond the data; '
        f'findLetters {sizes} megapixels; two processes would train the convolutional network {network["speedup"]["2"]:.1f} times as fast as one core, by estimate.',
        f'* Reading {len(reading["photos"])} pages, {reading["characters"]} characters: {"; ".join(read)}. (Tesseract was made for print.)',
        f'* Augmentation: {rate["ours"]:,.0f} characters a second; {peers}.',
        f'* Start-up: `run_q2.py --help` takes {first["seconds"]:.2f} s and {first["modules"]} modules, the slowest script ({slowest[0]}) {slowest[1]["seconds"]:.1f} s; '
        'questions 2 to 6 never import torch.',
    ]


def section(record):
    """The whole section, without its heading."""
    machine, training = record['machine'], record['training']
    peers = ', '.join(f'{NAMES.get(name, name)} {version}' for name, version in machine['peers'].items() if name in ('scikit-learn', 'torch'))
    intro = (f'`python python/benchmark.py` measures it (after `bash scripts/test.sh`, which installs what it compares with). One epoch of {training["rows"]:,} '
             f'pictures, medians of up to {training["repetitions"]} rounds in turns, each contestant with the number of threads that suits it best; {machine["cores"]} '
             f'cores of an {machine["processor"]}, {peers}:')
    return '\n'.join(['', intro, '', *training_table(training), '', *other_parts(record), '', ''])


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
