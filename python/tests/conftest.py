"""What the tests share: no window, nothing of the checkout touched, small built-in data made once, and real data for the tests that want it.

A test sees no real data unless it asks: Data() finds an empty folder and falls back to a small built-in stand-in in a temporary place, in scripts started by a
test too. The fixture real_data_dir gives the folder with the real NIST36, real_photos the folder with the course's photos: from NN_DATA, data/ and images/,
or a folder shared/ beside the checkout; where there is none, the test is skipped.
"""
import os
from pathlib import Path

import pytest

import datasets, handwriting

os.environ['MPLBACKEND'] = 'agg'
BESIDE = datasets.TOP.parent / 'shared'
NIST36 = [f'nist36_{split}.mat' for split in ('train', 'valid', 'test')]
PHOTOS = ['01_list.jpg', '02_letters.jpg', '03_haiku.jpg', '04_deep.jpg']


def first_with(files, *folders):
    """The first of folders that holds all of files, or None."""
    return next((folder for folder in folders if all((folder / file).is_file() for file in files)), None)


NAMED = [Path(os.environ['NN_DATA'])] if os.environ.get('NN_DATA') else []
REAL_DATA = first_with(NIST36, *NAMED, datasets.TOP / 'data', BESIDE / 'data')
REAL_PHOTOS = first_with(PHOTOS, *(folder.parent / 'images' for folder in NAMED), datasets.IMAGES, BESIDE / 'images')


@pytest.fixture(scope='session')
def real_data_dir():
    """Folder for --data with the real NIST36; other real sets may lie there too."""
    if REAL_DATA is None:
        pytest.skip('no real NIST36 in $NN_DATA, data/ or ../shared/data (scripts/get_data.sh)')
    return REAL_DATA


@pytest.fixture(scope='session')
def real_photos():
    """Folder with the course's four photos."""
    if REAL_PHOTOS is None:
        pytest.skip("the course's photos are not in images/ or ../shared/images (scripts/get_data.sh)")
    return REAL_PHOTOS


def pytest_runtest_setup(item):
    """A test marked real_data is skipped where there is neither real data nor photos, even if it uses no fixture of them."""
    if item.get_closest_marker('real_data') and REAL_DATA is None and REAL_PHOTOS is None:
        pytest.skip('no real data (scripts/get_data.sh)')


@pytest.fixture(scope='session', autouse=True)
def builtin(tmp_path_factory):
    """A small built-in stand-in of every set (NIST36: 20/10/10 of each class), in a temporary place that all tests read; returns the folder."""
    folder = tmp_path_factory.mktemp('builtin')
    handwriting.write_nist36(folder, per_class=(20, 10, 10))
    handwriting.write_mnist(folder, train=600, test=200)
    handwriting.write_emnist(folder, per_class=(12, 4))
    handwriting.write_flowers(folder, per_class=(4, 2, 2), size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, 'BUILTIN', folder)
        patch.setenv('NN_BUILTIN', str(folder))                                     # for scripts that a test starts
        patch.setenv('NN_DATA', str(tmp_path_factory.mktemp('no_real_data')))
        yield folder
