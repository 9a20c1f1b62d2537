"""How all tests are run."""

import gc

# Designs are many small objects that live as long as a test. By default Python looks through all of
# them again and again, a quarter of the time of a test that simulates.
gc.set_threshold(200_000, 20, 100)
