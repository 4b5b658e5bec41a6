"""Many replicas in time: Langevin dynamics, replica exchange, frames of room temperature."""
