"""The time view: operation counts, machine ceilings, growth, parallel speed-up, pictures."""
