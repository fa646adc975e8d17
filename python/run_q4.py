"""Question 4: read the text in photos of handwriting.

    python python/run_q4.py                          every picture in images/, about 2 seconds each
    python python/run_q4.py PHOTO ...                these photos; any size, grey or colour, turned by their EXIF note
    python python/run_q4.py --weights FILE           another network than the python/q3_weights.pickle that run_q3.py trains

Finds the characters (q4.findLetters), puts them into rows and words, shows each to the 64-unit network of question 3, and prints the text. Where a file
ground_truth.json beside a photo says what is written on it, the text is scored: edits are letters to insert, delete or change; a line is exact if it reads
as written, spaces included. On the course's four photos all 246 characters get a box.

Writes results/q4.json and, for each photo, figures/q4_boxes_*.png (boxes and reading order) and q4_crops_*.png (what the network sees); figures/q4_fails_*.png
are two pictures on which detection fails (Q4.1).
"""
import time

import numpy as np

import datasets, experiment, figures, q4, run_q3

SCORES = ('characters', 'edits', 'lines_exact', 'lines_true')


# ---------------------------------------------------------------- Q4.1: where detection fails

def touching(rng):
    """Letters that touch, "TOUCH": an image (H, W, 3) and how many characters it shows. One connected piece of ink counts as one character."""
    return paste('TOUCH', rng, step=0.6), 5


def in_parts(rng, side=96):
    """Characters whose halves lie apart, as a pen that skips leaves them, "HUMOUR": an image (H, W, 3) and how many characters it shows."""
    image = paste('HUMOUR', rng, step=1.1, side=side)
    for i in range(6):
        middle = side + int(1.1 * side * i)
        image[:, middle - side // 12:middle + side // 12] = 1
    return image, 6


def paste(text, rng, step, side=96):
    """text in one row on white, a character every step * side pixels: (H, W, 3)."""
    import handwriting
    pictures = handwriting.characters(text, size=side, look='nist36', rng=rng)
    pictures = np.clip(pictures / 0.9, 0, 1)
    page = np.ones((2 * side, int(step * side * (len(text) - 1)) + 2 * side))
    for i, picture in enumerate(pictures):
        x = side // 2 + int(step * side * i)
        page[side // 2:-side // 2, x:x + side] = np.minimum(page[side // 2:-side // 2, x:x + side], picture)
    return np.repeat(page[..., None], 3, axis=2)


def show_failures(run):
    """Figures of both pictures with the boxes that are found, and what goes wrong."""
    for name, make, wrong in [('touching', touching, 'letters that touch share a box'), ('parts', in_parts, 'parts that lie apart get boxes of their own')]:
        image, characters = make(np.random.default_rng(5))
        bboxes, _ = q4.findLetters(image)
        run.figure(f'fails_{name}', figures.page(image, q4.find_rows(bboxes), title=f'{characters} characters, {len(bboxes)} boxes: {wrong}'))


# ---------------------------------------------------------------- Q4.2 to Q4.4

def read_photo(run, path, classify, truth):
    """Read one photo, print its text and save its figures; returns what the results file says about it."""
    image = datasets.load_photo(path)
    began = time.perf_counter()
    page = q4.read(image, classify)
    seconds = time.perf_counter() - began
    score = datasets.score(page.lines, truth) if truth else dict.fromkeys(SCORES)
    rows = [np.concatenate(line) for line in page.words]
    run.figure(f'boxes_{path.stem}', figures.page(image, rows))
    if len(page.boxes):
        run.figure(f'crops_{path.stem}', figures.lines_of_crops(page.crops, page.lines))
    scored = f', {score["edits"]} edits, {score["lines_exact"]} of {len(truth)} lines exact' if truth else ''
    print(f'{path.name}: {len(page.boxes)} characters, {seconds:.1f} s{scored}')
    print(*(f'    {line}' for line in page.lines), sep='\n', flush=True)
    return {'lines': page.lines, 'boxes': len(page.boxes), 'seconds': seconds, **score}


def main(argv=None):
    run = experiment.start('q4', __doc__, argv,
                           photos=experiment.option([], 'photos to read instead of all in images/', positional=True, nargs='*', metavar='PHOTO'),
                           weights=experiment.option(None, 'weights to read with (default: q3_weights.pickle)', metavar='FILE'))
    classify = q4.numpy_classifier(run_q3.load_weights(run.args.weights or run.weights_file('q3_weights.pickle')))
    paths = datasets.photos(run.args.photos)
    truths = {folder: datasets.ground_truth(folder) for folder in {path.parent for path in paths}}
    run.data.record('photos', ', '.join(path.name for path in paths))

    show_failures(run)
    photos = {path.name: read_photo(run, path, classify, truths[path.parent].get(path.name)) for path in paths}

    known = [photo for photo in photos.values() if photo['characters'] is not None]
    totals = [sum(photo[key] for photo in known) if known else None for key in SCORES]
    if known:
        print('together: {} characters, {} edits, {} of {} lines exact'.format(*totals))
    return run.finish(photos=photos, **dict(zip(('characters', 'edits', 'lines_exact', 'lines'), totals)))


if __name__ == '__main__':
    experiment.script(main)
