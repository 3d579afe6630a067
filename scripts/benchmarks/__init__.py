"""imgforge's speed, as ratios to the bare programs, both measured by turns in one run."""
