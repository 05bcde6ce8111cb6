"""What reads bytes from outside, given bytes that mean harm: `python -m tests.fuzz mapping --minutes 20 --seed 1`."""
