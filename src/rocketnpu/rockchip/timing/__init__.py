"""How long command streams take: work read from registers, rates fitted to measurements, a setting's time."""
