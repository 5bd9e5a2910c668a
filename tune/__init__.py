"""Hyperparameter studies with Optuna: many trials trained as one, in as many processes as there are cores.

A study is a list of points, of which each becomes one trial of Optuna's. Its whole state lies in a storage
that every process opens by itself: workers take points, train them, and write down what came out, so that two
machines are no more than two workers, and any of them may be killed at any moment.
"""
