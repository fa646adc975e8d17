"""run_q4.py: what it prints and saves, what it says when something is missing, and, where the real photos are, how well it reads them."""
import json, pickle, subprocess, sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datasets, handwriting, nn, q4, run_q4
from experiment import UserError

LINES = ['READ ME', '2. TWICE']


@pytest.fixture
def place(tmp_path):
    """A folder with random weights, a page and what is written on it; returns (folder, weights, page)."""
    params, rng = {}, np.random.default_rng(0)
    nn.initialize_weights(1024, 64, params, 'layer1', rng)
    nn.initialize_weights(64, 36, params, 'output', rng)
    (tmp_path / 'w.pickle').write_bytes(pickle.dumps(params))
    page = handwriting.page(LINES, rng, difficulty=0.2, width=600)
    Image.fromarray((255 * page.image).astype(np.uint8)).save(tmp_path / 'page.png')
    (tmp_path / 'ground_truth.json').write_text(json.dumps({'page.png': LINES}))
    return tmp_path, str(tmp_path / 'w.pickle'), str(tmp_path / 'page.png')


def test_results_and_figures(place, capsys):
    folder, weights, photo = place
    Image.new('L', (300, 200), 230).save(folder / 'blank.png')
    record = run_q4.main([photo, str(folder / 'blank.png'), '--weights', weights, '--out', str(folder / 'out')])
    page, blank = record['photos']['page.png'], record['photos']['blank.png']
    assert (page['boxes'], page['characters'], record['characters'], record['lines']) == (12, 12, 12, 2)
    assert [[len(word) for word in line.split()] for line in page['lines']] == [[4, 2], [1, 5]]
    assert page['edits'] == record['edits'] == datasets.edits(''.join(page['lines']).replace(' ', ''), 'README2TWICE') and page['seconds'] > 0
    assert blank['lines'] == [] and blank['boxes'] == 0 and blank['characters'] is None
    assert json.loads((folder / 'out' / 'results' / 'q4.json').read_text()) == record
    figures = {path.name for path in (folder / 'out' / 'figures').iterdir()}
    assert figures == {f'q4_{name}.png' for name in ('boxes_page', 'crops_page', 'boxes_blank', 'fails_touching', 'fails_parts')}
    printed = capsys.readouterr().out
    assert all(f'    {line}\n' in printed for line in page['lines']) and '12 characters' in printed


def test_without_ground_truth(place):
    folder, weights, photo = place
    (folder / 'ground_truth.json').unlink()
    record = run_q4.main([photo, '--weights', weights, '--out', str(folder / 'out')])
    assert [record[key] for key in ('characters', 'edits', 'lines_exact', 'lines')] == [None] * 4 and record['photos']['page.png']['boxes'] == 12


def test_no_weights(place):
    folder, _, photo = place
    with pytest.raises(UserError, match='nothing.pickle.*run_q3.py'):
        run_q4.main([photo, '--weights', str(folder / 'nothing.pickle'), '--out', str(folder / 'out')])
    assert not (folder / 'out').exists()


@pytest.mark.parametrize('content, message', [(None, 'no such photo'), (b'not a picture', 'cannot be read as a picture')])
def test_a_photo_that_cannot_be_read_ends_in_one_line(place, content, message):
    folder, weights, _ = place
    photo = folder / 'other.jpg'
    if content:
        photo.write_bytes(content)
    done = subprocess.run([sys.executable, Path(run_q4.__file__), photo, '--weights', weights, '--out', folder / 'out'], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count('\n') == 1 and 'other.jpg' in done.stderr and message in done.stderr
    assert not (folder / 'out' / 'results').exists()


@pytest.mark.parametrize('make', [run_q4.touching, run_q4.in_parts])
def test_where_detection_fails(make):
    image, characters = make(np.random.default_rng(5))
    assert image.ndim == 3 and 0 <= image.min() and image.max() <= 1
    assert len(q4.findLetters(image)[0]) != characters


# ---------------------------------------------------------------- the course's photos

@pytest.mark.real_data
def test_every_character_of_the_four_photos_is_found_in_its_word(real_photos):
    for name, lines in datasets.ground_truth(real_photos).items():
        if not name.startswith('0'):
            continue                    # a sample page
        boxes, _ = q4.findLetters(datasets.load_photo(real_photos / name))
        rows = q4.find_rows(boxes)
        gap = q4.word_gap(rows)
        found = [[len(word) for word in q4.find_words(row, gap)] for row in rows]
        assert found == [[len(word) for word in line.replace('.', ' ').split()] for line in lines], name


@pytest.mark.real_data
def test_the_four_photos_are_read(real_photos, tmp_path):
    weights = Path(run_q4.__file__).with_name('q3_weights.pickle')
    record = Path(datasets.TOP / 'writeup' / 'results' / 'q3.json')
    if not weights.exists() or not record.exists() or json.loads(record.read_text())['quick'] or 'nist36_*.mat' not in record.read_text():
        pytest.skip('needs the weights that run_q3.py trains on real data')
    classify = q4.numpy_classifier(pickle.loads(weights.read_bytes()))
    truth = {name: lines for name, lines in datasets.ground_truth(real_photos).items() if name.startswith('0')}
    edits = sum(datasets.score(q4.read(datasets.load_photo(real_photos / name), classify).lines, lines)['edits'] for name, lines in truth.items())
    assert edits <= 10                  # 6 or fewer with most seeds
