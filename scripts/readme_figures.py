"""The two pictures of the README, from the built-in handwriting alone: rows of characters, and a page with what was read on it.

    .venv/bin/python scripts/readme_figures.py                          writes writeup/readme_characters.png and writeup/readme_page.png
    .venv/bin/python scripts/readme_figures.py --weights FILE           read with these weights of question 3 (default: python/q3_weights.pickle)
"""
import argparse, os, sys
from pathlib import Path

import numpy as np

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / 'python'))
os.environ['MPLBACKEND'] = 'agg'

import datasets, experiment, figures, handwriting, q4, run_q3       # noqa: E402  (they are found through the line above)

WRITERS = 5
PAGE = 'sample_2.png'


def characters(rng):
    """All 36 classes, a row for each imagined writer."""
    rows = [handwriting.characters(datasets.CLASSES, rng=rng, writers=handwriting.Writer(rng)) for _ in range(WRITERS)]
    return figures.image_grid(np.concatenate(rows), columns=len(datasets.CLASSES), size=(9, 9 * WRITERS / len(datasets.CLASSES)))


def page(weights):
    """A sample page, its boxes in reading order, and the text that the 64-unit network reads."""
    image = datasets.load_photo(datasets.IMAGES / PAGE)
    reading = q4.read(image, q4.numpy_classifier(run_q3.load_weights(weights)))
    return figures.page(image, q4.find_rows(reading.boxes), title='read:  ' + '  /  '.join(reading.lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', metavar='FILE', default=experiment.CODE / 'q3_weights.pickle')
    weights = parser.parse_args().weights
    for name, make in (('characters', lambda: characters(np.random.default_rng(4))), ('page', lambda: page(weights))):
        path = TOP / 'writeup' / f'readme_{name}.png'
        with experiment.writing(path) as part:
            make().savefig(part, format='png')
        print(experiment.shorten(path))


if __name__ == '__main__':
    experiment.script(main)
