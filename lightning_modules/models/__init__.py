"""The three networks as LightningModules, their losses and their settings."""
