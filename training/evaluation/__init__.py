"""Measures a classifier's accuracy, clean and under attack, and refuses to call it robust without
evidence.
"""
