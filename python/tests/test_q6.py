"""Question 6: the projection, its reconstructions, and the curve over components."""
import json

import numpy as np
import pytest
import skimage.metrics

import datasets, experiment, figures, run_q5, run_q6


@pytest.fixture(scope='module')
def valid():
    return datasets.load_nist36('valid')


def test_components_are_those_of_the_plain_svd():
    x = np.random.default_rng(0).normal(size=(60, 20)) * np.arange(1, 21)
    mean, projection = run_q6.fit(x, 5)
    Vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2]
    assert mean == pytest.approx(x.mean(axis=0)) and projection.shape == (20, 5)
    assert np.abs(projection.T @ Vt[:5].T) == pytest.approx(np.eye(5), abs=1e-10)      # equal up to the sign


def test_hand_worked_line():
    """Points on a line through (1, 2) along (3, 4) / 5: one component, no loss."""
    x = np.array([1, 2]) + np.outer([-2, -1, 0, 3], [0.6, 0.8])
    mean, projection = run_q6.fit(x, 1)
    assert mean == pytest.approx([1, 2]) and np.abs(projection[:, 0]) == pytest.approx([0.6, 0.8])
    assert run_q6.reconstruct(x, mean, projection) == pytest.approx(x)


def test_new_data_is_centred_with_the_training_mean():
    rng = np.random.default_rng(0)
    mean, projection = run_q6.fit(rng.normal(size=(50, 8)), 3)
    assert run_q6.reconstruct(mean[None] + 7 * projection.T[:1], mean, projection) == pytest.approx(mean[None] + 7 * projection.T[:1])


def test_curve_equals_reconstructing_for_each_number_of_components(valid):
    mean, projection = run_q6.fit(valid.x, 40)
    curve = run_q6.psnr_by_components(valid.x[:50], mean, projection)
    for k in (1, 2, 17, 40):
        recon = run_q6.reconstruct(valid.x[:50], mean, projection[:, :k])
        one_by_one = [skimage.metrics.peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(valid.x[:50], recon)]
        assert curve[k - 1] == pytest.approx(np.mean(one_by_one), abs=1e-8) == pytest.approx(datasets.psnr(valid.x[:50], recon), abs=1e-8)
    assert (np.diff(curve) > 0).all()


def test_command_alone(tmp_path, capsys):
    result = run_q6.main(['--out', str(tmp_path), '--components', '12'])
    assert json.loads((tmp_path / 'results' / 'q6.json').read_text()) == result
    assert result['projection_shape'] == [1024, 12] and result['rank'] == 12 and result['autoencoder_psnr'] is None
    assert result['psnr_by_components'][11] == pytest.approx(result['psnr_valid'], abs=1e-6) and len(result['psnr_by_components']) == 256
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {'q6_psnr.png', 'q6_reconstructions.png', 'q6_components.png'}
    assert 'run_q5.py' in capsys.readouterr().out


def test_command_beside_an_autoencoder(tmp_path, capsys, monkeypatch):
    q5 = run_q5.main(['--quick', '--out', str(tmp_path), '--course-seeds', '1', '--best-epochs', '1'])
    drawn, _ = [], capsys.readouterr()
    monkeypatch.setattr(figures, 'side_by_side', lambda **rows: drawn.append(rows) or figures.new()[0])
    assert run_q6.main(['--out', str(tmp_path)])['autoencoder_psnr'] == q5['best']['psnr_valid']
    assert list(drawn[0]) == ['original', 'autoencoder', 'PCA'] and all(row.shape == (10, 1024) for row in drawn[0].values())
    table = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('  ') and ' 32 ' in line]
    assert [(row[-4], row[-3]) for row in table] == [('33792', '32'), ('68704', '32'), ('68704', '32')]
    assert [float(row[-2]) for row in table[1:]] == pytest.approx([q5['course']['psnr_valid'], q5['best']['psnr_valid']], abs=0.006)
    (tmp_path / 'results' / 'q5.json').write_text(json.dumps(q5 | {'data': 'another set'}))
    assert run_q6.main(['--out', str(tmp_path)])['autoencoder_psnr'] is None and 'another set' in capsys.readouterr().out
    (tmp_path / 'results' / 'q5.json').write_text('{')
    with pytest.raises(experiment.UserError, match='q5.json'):
        run_q6.main(['--out', str(tmp_path)])


@pytest.mark.parametrize('components', ['0', '257', '-3'])
def test_impossible_numbers_of_components_are_refused(tmp_path, components):
    with pytest.raises(experiment.UserError, match='--components must be'):
        run_q6.main(['--out', str(tmp_path), '--components', components])
    assert not list(tmp_path.iterdir())


@pytest.mark.real_data
def test_psnr_on_the_real_set(real_data_dir, tmp_path):
    """17.11 dB with the training mean on the rebuild, 16.35 on the course's own files."""
    result = run_q6.main(['--data', str(real_data_dir), '--out', str(tmp_path)])
    assert 16.2 < result['psnr_valid'] < 17.3 and result['rank'] == 32 and (not np.isfinite(result['memory_mb'] or np.nan) or result['memory_mb'] < 2000)
