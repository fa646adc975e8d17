"""Question 7: everything in PyTorch, one half after the other.

    python python/run_q7.py                     run_q7_1.py (characters), then run_q7_2.py (flowers); about 45 minutes on two cores
    python python/run_q7.py --quick             every step of both on a little data, in a minute
    torchrun --nproc_per_node=2 python/run_q7.py

Takes the shared flags and --resume; each half has more of its own (python python/run_q7_1.py --help). Writes what the two halves write.
"""
import sys

import experiment, run_q7_1, run_q7_2


def main(argv=None):
    argv = sys.argv[1:] if argv is None else list(argv)
    experiment.parse(__doc__, argv, {'resume': experiment.option(False, 'go on from where an interrupted run stopped')})     # refuse bad flags at once
    return {'q7_1': run_q7_1.main(argv), 'q7_2': run_q7_2.main(argv)}


if __name__ == '__main__':
    experiment.script(main)
