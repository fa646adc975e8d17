"""Question 2 as a command: its checks, its numbers, its files."""
import json, subprocess, sys
from pathlib import Path

import numpy as np
import pytest

import nn, run_q2

PYTHON = Path(run_q2.__file__).parent


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_meets_the_courses_bars(tmp_path, seed, capsys):
    result = run_q2.main(['--out', str(tmp_path), '--seed', str(seed)])
    assert result['loss'] < 35 and result['accuracy'] > 0.75 and result['gradient_error'] < 1e-4
    assert result['checks_failed'] == 0 and 'WRONG' not in capsys.readouterr().out
    assert json.loads((tmp_path / 'results' / 'q2.json').read_text()) == result
    assert {p.name for p in (tmp_path / 'figures').iterdir()} == {'q2_regions.png', 'q2_loss.png'}


def test_a_wrong_derivative_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(nn.DERIVATIVE, nn.sigmoid, lambda post_act: post_act)
    result = run_q2.main(['--out', str(tmp_path)])
    assert result['gradient_error'] > 1e-2 and result['checks_failed'] >= 1 and 'WRONG' in capsys.readouterr().out


def test_points_have_the_courses_means_and_variances():
    x, y = run_q2.make_points(np.random.default_rng(0), each=20000)
    for c in range(4):
        cloud = x[y[:, c] == 1]
        assert cloud.mean(axis=0) == pytest.approx(run_q2.MEANS[c], abs=0.1)
        assert cloud.var(axis=0) == pytest.approx(run_q2.VARIANCES[c], rel=0.05)


def test_runs_from_anywhere_without_torch(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(PYTHON)!r}); import run_q2; run_q2.main(['--quick', '--out', 'here']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (tmp_path / 'here/results/q2.json').exists()
