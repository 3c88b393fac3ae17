"""Jobs: their models, the job file, presets."""
